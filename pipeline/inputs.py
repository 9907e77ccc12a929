"""Where a corpus is: the flag, ``$WORDLOOM_DATA/<corpus>``, ``./data/<corpus>``, the hub, in this order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.corpora import Corpus
from pipeline.errors import CorpusError
from pipeline.hub import export_from_hub
from pipeline.reader_settings import ReaderSettings
from pipeline.sample import sample_files
from shards.store import connect

ENVIRONMENT = "WORDLOOM_DATA"


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file to read: where it is, the relative path that manifests record, its language and format (or ``auto``)."""

    url: str
    path: str
    size: int
    lang: str
    format: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, kw_only=True)
class FoundInputs:
    """The files of a corpus, sorted, and where they were found. skipped: folder → kind → number of files passed over in it."""

    files: tuple[InputFile, ...]
    source: str
    skipped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)


def find_inputs(
    corpus: Corpus, lang: str | None, given: Sequence[str], work: Path, hub_id: str | None = None,
    settings: ReaderSettings = ReaderSettings(),  # noqa: B008 - frozen
) -> FoundInputs:  # fmt: skip
    """Find a corpus; rows of the hub are first written to files below `work`. The format of `settings` goes before the corpus's.

    Raises CorpusError when nothing is found, naming every place looked at, and HubError when the hub cannot be used.
    """
    if corpus.embedded and not given:
        files = tuple(
            InputFile(url=str(path), path=path.name, size=path.stat().st_size, lang=of, format=corpus.format)
            for path, of in sample_files(lang)
        )
        return FoundInputs(files=files, source="the sample that comes with the package")
    language = lang or corpus.languages[0]
    format = corpus.format if settings.format == "auto" else settings.format
    if given:
        return _found(given, format, language, "--input")
    root = os.environ.get(ENVIRONMENT)
    places = [(Path(root) / corpus.name, f"${ENVIRONMENT}")] if root else []
    places.append((Path("data") / corpus.name, "the working directory"))
    for folder, reason in places:
        if folder.exists():
            return _found([str(folder)], format, language, f"{folder} ({reason})")
    looked = ", ".join(str(folder) for folder, _ in places)
    hint = f"It is {corpus.origin}. Pass its files: --input PATH, a folder, or a glob in quotes; or set {ENVIRONMENT}"
    identifier = hub_id or corpus.hub_id
    if identifier is None:
        raise CorpusError(f"corpus {corpus.name!r} is not on this machine", where=looked, hint=hint)
    config = corpus.hub_configs.get(language)
    exported = export_from_hub(
        identifier, config, corpus.hub_rows, work, f"no files of corpus {corpus.name!r} in {looked}. {hint}", settings.field
    )
    name = "/".join(part for part in (identifier, config, exported.name) if part)
    # What a field was given for is exported under the usual name; otherwise rows keep their shape.
    written = "text" if corpus.hub_rows != "documents" else "jsonl" if settings.field is None else "jsonl:text"
    file = InputFile(url=str(exported), path=f"hub:{name}", size=exported.stat().st_size, lang=language, format=written)
    return FoundInputs(files=(file,), source=f"the hub, {identifier}")


def _found(given: Sequence[str], format: str, lang: str, source: str) -> FoundInputs:
    found: dict[str, int] = {}
    skipped: dict[str, Counter[str]] = {}
    for pattern in dict.fromkeys(given):
        sizes = _expand(pattern, skipped)
        if not sizes:
            raise CorpusError("no file found here", where=pattern, hint="Give a file, a folder, or a glob in quotes")
        found |= sizes
    if not any(found.values()):
        raise CorpusError("all input files are empty", where=", ".join(given))
    folders = _dataset_folders(found)
    sizes = {url: size for url, size in found.items() if _inside(url, folders) is None}
    for url, size in found.items():
        if (folder := _inside(url, folders)) is not None:
            sizes[folder] = sizes.get(folder, 0) + size
    urls = sorted(sizes)
    files = tuple(
        InputFile(url=url, path=path, size=sizes[url], lang=lang, format="datasets" if url in folders else format)
        for url, path in zip(urls, _relative(urls), strict=True)
    )
    return FoundInputs(files=files, source=source, skipped=skipped)


def _dataset_folders(urls: Iterable[str]) -> set[str]:
    """Return the outermost folders that `datasets` wrote (one split, several, or its cache): each is one input."""
    names: dict[str, set[str]] = {}
    for url in urls:
        folder, _, name = url.rpartition("/")
        names.setdefault(folder, set()).add(name)
    folders = {
        folder for folder, inside in names.items()
        if "dataset_dict.json" in inside
        or ("dataset_info.json" in inside and ("state.json" in inside or any(name.endswith(".arrow") for name in inside)))
    }  # fmt: skip
    return {folder for folder in folders if _inside(folder, folders) is None}


def _inside(url: str, folders: set[str]) -> str | None:
    """Return which of the folders a path lies in."""
    return next((parent for parent in _parents(url) if parent in folders), None)


def _parents(url: str) -> Iterator[str]:
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        yield url


def _expand(pattern: str, skipped: dict[str, Counter[str]]) -> dict[str, int]:
    """Return url → size of the files that a path, a folder or a glob means.

    Hidden files, and what is no file, are passed over and counted in `skipped` under the folder's name.
    """
    fs, path = connect(pattern)
    roots = [path] if fs.exists(path) else sorted(fs.glob(path))
    found: dict[str, int] = {}
    for root in roots:
        details = {root: fs.info(root)} if fs.isfile(root) else fs.find(root, detail=True)
        for name, info in details.items():
            below = PurePosixPath(name).relative_to(root).parts if name != root else ()
            hidden = any(part.startswith(".") for part in below)
            if info["type"] == "file" and not hidden:
                found[fs.unstrip_protocol(name) if "://" in pattern else name] = int(info["size"])
            elif name != root:
                kind = "hidden" if hidden else "not a file"
                skipped.setdefault(f"{PurePosixPath(root).name}/", Counter())[kind] += 1
    return found


def _relative(urls: Sequence[str]) -> list[str]:
    """Return paths below the deepest folder that holds all of them: what a manifest may record of them."""
    parents = [PurePosixPath(url).parent.parts for url in urls]
    common = 0
    while all(len(p) > common for p in parents) and len({p[common] for p in parents}) == 1:
        common += 1
    return [str(PurePosixPath(*PurePosixPath(url).parts[common:])) for url in urls]
