"""Decontamination: documents that hold text of a task's dev or test files are left out.

As in GPT-3 (Brown et al. 2020, appendix C) a document is contaminated when it shares an n-gram of 13 words, lower-cased and
without punctuation, with a task text; for a text of 8 to 12 words, when the whole of it occurs; shorter ones prove nothing.
In Chinese that is 32 Han characters, and 16 for whole texts: 20 would be as long as 13 words, but set phrases, addresses and
titles of that length are shared by news and encyclopedia articles by nature. GPT-3 cut the overlap out of long documents; here
the whole document goes, which errs on the clean side and keeps text whole.

The n-grams are hashed once and stored in the work folder, where every worker finds them by the stage's description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.documents import Document, Drop
from pipeline.errors import InputError
from pipeline.rolling_hash import Hashes, prefix_sums, spans, windows
from pipeline.task_texts import read_task_file
from pipeline.text_tokens import tokenize
from shards.canonical import fingerprint
from shards.durable import commit_bytes
from shards.errors import FormatError, NotFoundError, UsageError

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DecontaminationSettings:
    """Lengths in tokens: of n-grams in words and in Han characters, and of the shortest task texts that count as a whole."""

    words: int = 13
    characters: int = 32
    min_words: int = 8
    min_characters: int = 16

    def __post_init__(self) -> None:
        for low, high, what in ((self.min_words, self.words, "words"), (self.min_characters, self.characters, "characters")):
            if not 1 <= low <= high <= 1000:
                raise UsageError(f"an n-gram takes 1 to 1000 {what}, no fewer than the shortest text", got=f"{low} and {high}")


@dataclass(frozen=True)
class Decontaminate:
    """Drop documents that share an n-gram with the task files (``contaminated``).

    files: sha256 of each task file, ascending; folder: where `prepare_decontamination` stored their n-grams (no part of the
    description).
    """

    files: tuple[str, ...]
    settings: DecontaminationSettings
    folder: Path

    @property
    def description(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": "decontaminate", "version": _VERSION, "files": list(self.files), "words": settings.words,
            "characters": settings.characters, "min_words": settings.min_words, "min_characters": settings.min_characters,
        }  # fmt: skip

    @classmethod
    def from_description(cls, description: Mapping[str, Any], work_folder: Path | None) -> Decontaminate:
        if description.get("version") != _VERSION:
            raise UsageError("decontamination of another version", expected=_VERSION, got=description.get("version"))
        if work_folder is None:
            raise UsageError("decontamination needs the work folder of the build that prepared it")
        lengths = {name: description[name] for name in ("words", "characters", "min_words", "min_characters")}
        return cls(tuple(description["files"]), DecontaminationSettings(**lengths), work_folder)

    @property
    def path(self) -> Path:
        return self.folder / f"ngrams-{fingerprint(self.description)[:16]}.npy"

    def __call__(self, document: Document) -> Document | Drop:
        return Drop(reason="contaminated") if self._ngrams.meet(document.text) else document

    @cached_property
    def _ngrams(self) -> _Ngrams:
        return _Ngrams.read(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process boundaries without the n-grams."""
        return Decontaminate, (self.files, self.settings, self.folder)


class _Ngrams:
    """Hashes of n-grams by length. A document is looked at where a window of the least length begins one of them, if any."""

    def __init__(self, by_length: dict[int, Hashes], anchors: Hashes) -> None:
        self._by_length, self._anchors = by_length, anchors
        self._width = min(by_length, default=0)
        bits = max(int(8 * len(anchors)).bit_length(), 10)  # one in eight to sixteen cells is taken
        self._shift = np.uint64(64 - bits)
        self._taken = np.zeros(1 << bits, np.bool_)
        self._taken[anchors >> self._shift] = True

    def meet(self, text: str) -> bool:
        """Return whether any n-gram occurs in the text."""
        if not self._width:
            return False
        sums = prefix_sums(tokenize(text).hashes)
        seen = windows(sums, self._width)
        begins = np.flatnonzero(self._taken[seen >> self._shift])
        begins = begins[_among(seen[begins], self._anchors)]
        if not len(begins):
            return False
        for length, hashes in self._by_length.items():
            inside = begins[begins + length < len(sums)]
            if _among(spans(sums, inside, inside + length), hashes).any():
                return True
        return False

    def write(self, path: Path) -> None:
        """Commit: number of lengths, (length, count) of each, hashes of each length in order, anchors."""
        header = [len(self._by_length), *(n for length, hashes in self._by_length.items() for n in (length, len(hashes)))]
        parts = [np.array(header, np.uint64), *self._by_length.values(), self._anchors]
        commit_bytes(path, np.concatenate(parts).astype("<u8").tobytes())

    @classmethod
    def read(cls, path: Path) -> _Ngrams:
        """Raises NotFoundError, and FormatError for a file that is not what `write` wrote."""
        try:
            numbers = np.fromfile(path, "<u8").astype(np.uint64)
        except FileNotFoundError:
            raise NotFoundError("no n-grams of task files", where=path, hint="Start the build again") from None
        count = int(numbers[0]) if len(numbers) else -1
        if count < 0 or len(numbers) < 1 + 2 * count:
            raise FormatError("holds no n-grams", where=path, hint="Start the build again")
        table = numbers[1 : 1 + 2 * count].reshape(-1, 2).tolist()
        ends = np.cumsum([1 + 2 * count, *(size for _, size in table)]).tolist()
        if ends[-1] > len(numbers):
            raise FormatError("holds only some of its n-grams", where=path, hint="Start the build again")
        by_length = {length: numbers[ends[i] : ends[i + 1]] for i, (length, _) in enumerate(table)}
        return cls(by_length, numbers[ends[-1] :])


def _among(values: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    """Return which of `values` are in `ordered`, which ascends and holds at least one."""
    position = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[position] == values)


def prepare_decontamination(
    paths: Sequence[str | Path], work_folder: Path, settings: DecontaminationSettings | None = None
) -> Decontaminate:
    """Read the task files, store their n-grams in the work folder and return the stage that looks for them.

    Memory is bounded by the task files: 16 bytes a token of theirs, and a few for a table. Raises NotFoundError, InputError and
    EncodingError, naming file and row; InputError when no field of any file is long enough.
    """
    settings = settings or DecontaminationSettings()
    files: set[str] = set()
    by_length: dict[int, list[Hashes]] = {}
    begins: list[tuple[Hashes, NDArray[np.int64]]] = []
    for path in paths:
        sha256, texts = read_task_file(Path(path))
        if sha256 in files:
            continue
        files.add(sha256)
        for text in set(texts):
            _add_ngrams(text, settings, by_length, begins)
    if not by_length:
        expected = f"at least {settings.min_words} words or {settings.min_characters} Han characters"
        raise InputError("no text in the task files is long enough", where=", ".join(map(str, paths)), expected=expected)
    width = min(by_length)
    anchors = np.unique(np.concatenate([spans(sums, at, at + width) for sums, at in begins]))
    ngrams = _Ngrams({length: np.unique(np.concatenate(parts)) for length, parts in sorted(by_length.items())}, anchors)
    stage = Decontaminate(tuple(sorted(files)), settings, work_folder)
    ngrams.write(stage.path)
    return stage


def _add_ngrams(
    text: str,
    settings: DecontaminationSettings,
    by_length: dict[int, list[Hashes]],
    begins: list[tuple[Hashes, NDArray[np.int64]]],
) -> None:
    tokens = tokenize(text)
    least, most = (settings.min_characters, settings.characters) if tokens.is_chinese else (settings.min_words, settings.words)
    if len(tokens) < least:
        return
    length = min(len(tokens), most)
    sums = prefix_sums(tokens.hashes)
    hashes = windows(sums, length)
    by_length.setdefault(length, []).append(hashes)
    begins.append((sums, np.arange(len(hashes))))
