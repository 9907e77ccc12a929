"""The manifest of a data set, format 1: what it was made of, what it holds, and the hashes that prove both.

The manifest is written last: a folder without one is not a data set. Its fingerprint is the sha256 of the canonical JSON of
format, recipe, corpus, tokenizer and shards; it holds no absolute path and no clock. `made` (versions, times, throughput)
stays outside.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.canonical import fingerprint, parse_json_object, pretty_json, read_json_object
from shards.durable import commit_bytes
from shards.errors import FormatError, IntegrityError, NotFoundError
from shards.fields import Fields

FORMAT = 1
MANIFEST_NAME = "manifest.json"
SPLITS = ("train", "heldout")
LAYOUTS = ("pairs", "full", "line")
PAIR_TEMPLATES = ("bert", "roberta")
HISTOGRAM_BIN_TOKENS = 16
_MAX_ENTRIES = 1 << 20
MAX_MANIFEST_BYTES = 64 << 20
_HEX = {n: re.compile(f"[0-9a-f]{{{n}}}") for n in (8, 16, 32)}
_KIND = re.compile(r"[a-z][a-z0-9-]{0,39}")


def separators_inside(pair_template: str) -> int:
    """Return how many separators stand between the two segments of a pair: ``[SEP]`` or ``</s></s>``."""
    return 1 if pair_template == "bert" else 2


def shard_name(split: str, hash8: str, number: int) -> str:
    """Return the file name of a shard: of the plan that `hash8` starts the hash of, and its unit's number."""
    return f"{split}-{hash8}-{number:05d}.arrow"


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """Ids of the five tokens that are never words."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int

    def as_tuple(self) -> tuple[int, ...]:
        return (self.pad, self.unk, self.cls, self.sep, self.mask)


@dataclass(frozen=True, kw_only=True)
class CorpusEntry:
    """One input file: path relative to the input it was found under, bytes and sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a stored folder: plain name, bytes and sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TokenizerEntry:
    """The stored tokenizer: its folder inside the data set, its files, and what training needs to know of it."""

    kind: str
    folder: str
    hash: str
    files: tuple[FileEntry, ...]
    vocab_size: int
    special_ids: SpecialIds
    pair_template: str


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One Arrow file. `odometer` is the order-free sum of its sample ids (32 hexadecimal digits)."""

    file: str
    split: str
    rows: int
    tokens: int
    bytes: int
    sha256: str
    odometer: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Documents and rows that came in, and what became of them; ``read = kept + Σ dropped`` for both."""

    read: int
    kept: int
    dropped: Mapping[str, int]
    rows_read: int
    rows_kept: int
    rows_dropped: Mapping[str, int]

    def check(self) -> None:
        """Raise FormatError when something is unaccounted for."""
        for what, read, kept, dropped in (
            ("documents", self.read, self.kept, self.dropped),
            ("rows", self.rows_read, self.rows_kept, self.rows_dropped),
        ):
            if read != kept + sum(dropped.values()):
                raise FormatError(f"{what} do not add up: read {read}, kept {kept}, dropped {dict(dropped)}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """See the module docstring; `tag` is the first 8 bytes of the plan hash of the first build, as 16 hexadecimal digits."""

    recipe: Mapping[str, Any]
    corpus: tuple[CorpusEntry, ...]
    tokenizer: TokenizerEntry
    shards: tuple[ShardEntry, ...]
    length_histogram: Mapping[str, int]
    tally: Tally
    tag: str
    made: Mapping[str, Any]

    @property
    def recipe_hash(self) -> str:
        return fingerprint(self.recipe)

    @property
    def max_seq_len(self) -> int:
        """Longest sample in tokens, special tokens included."""
        return int(self.recipe["max_seq_len"])

    @property
    def layout(self) -> str:
        return str(self.recipe["layout"])

    @property
    def fingerprint(self) -> str:
        parts = self.to_json_object()
        return fingerprint({key: parts[key] for key in ("format", "recipe", "corpus", "tokenizer", "shards")})

    def to_json_object(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "recipe": dict(self.recipe),
            "recipe_hash": self.recipe_hash,
            "corpus": [dataclasses.asdict(entry) for entry in self.corpus],
            "tokenizer": dataclasses.asdict(self.tokenizer) | {"files": [dataclasses.asdict(f) for f in self.tokenizer.files]},
            "shards": [dataclasses.asdict(entry) for entry in self.shards],
            "length_histogram": dict(self.length_histogram),
            "tally": {
                "read": self.tally.read,
                "kept": self.tally.kept,
                "dropped": dict(self.tally.dropped),
                "rows": {"read": self.tally.rows_read, "kept": self.tally.rows_kept, "dropped": dict(self.tally.rows_dropped)},
            },
            "tag": self.tag,
            "made": dict(self.made),
        }

    def with_made(self, more: Mapping[str, Any]) -> Manifest:
        """Return the manifest with entries of `made` added or replaced."""
        return dataclasses.replace(self, made=dict(self.made) | dict(more))

    def to_bytes(self) -> bytes:
        """Return the content of manifest.json. Raises FormatError when the tally does not add up."""
        self.tally.check()
        return pretty_json(self.to_json_object() | {"fingerprint": self.fingerprint})

    def commit(self, folder: Path) -> None:
        """Write the manifest durably: the moment from which `folder` is this data set."""
        commit_bytes(folder / MANIFEST_NAME, self.to_bytes())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of a data set.

        Raises NotFoundError when there is none, FormatError when a field is missing, unknown or wrong, IntegrityError when
        the recorded hashes are not those of the content.
        """
        path = folder / MANIFEST_NAME
        try:
            value = read_json_object(path)
        except NotFoundError:
            raise NotFoundError(
                "not a data set: there is no manifest.json (an unfinished build has none)",
                where=folder,
                hint="Build one: python -m pipeline.build --corpus NAME",
            ) from None
        return _parse(value, path)

    @classmethod
    def from_bytes(cls, data: bytes, where: object) -> Manifest:
        """Return the manifest that `data` holds, checked as by `read`; `where` is for messages."""
        return _parse(parse_json_object(data, where), where)


_TOP = frozenset(
    (
        "format",
        "recipe",
        "recipe_hash",
        "corpus",
        "tokenizer",
        "shards",
        "length_histogram",
        "tally",
        "tag",
        "made",
        "fingerprint",
    )
)


def _names(kind: type) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(kind))


def _parse(value: dict[str, Any], path: object) -> Manifest:
    version = value.get("format")
    if version != FORMAT or isinstance(version, bool):
        raise FormatError(
            "unknown data-set format", where=path, expected=FORMAT, got=version, hint="Build it again with this version"
        )
    top = Fields(value, where=path, allowed=_TOP)
    recipe = top.object("recipe")
    inside = Fields(recipe, where=path, place="recipe", allowed=frozenset(recipe))
    inside.integer("max_seq_len", minimum=4, maximum=1 << 20)
    if inside.text("layout") not in LAYOUTS:
        raise inside.wrong("layout", f"one of {LAYOUTS}", recipe["layout"])
    manifest = Manifest(
        recipe=recipe,
        corpus=tuple(_corpus_entry(entry, path, i) for i, entry in enumerate(top.array("corpus", maximum=_MAX_ENTRIES))),
        tokenizer=_tokenizer_entry(top.object("tokenizer"), path),
        shards=tuple(_shard_entry(entry, path, i) for i, entry in enumerate(top.array("shards", maximum=_MAX_ENTRIES))),
        length_histogram=top.counts("length_histogram"),
        tally=_tally(top.object("tally"), path),
        tag=top.text("tag", pattern=_HEX[16]),
        made=top.object("made"),
    )
    for name in ("recipe_hash", "fingerprint"):
        if top.sha256(name) != (actual := getattr(manifest, name)):
            raise IntegrityError(
                f"{name} is not that of the content: the manifest was altered", where=path, expected=value[name], got=actual
            )
    files = [entry.file for entry in manifest.shards]
    if repeated := sorted({f for f in files if files.count(f) > 1}) if len(set(files)) != len(files) else []:
        raise FormatError(f"shard {repeated[0]!r} is listed twice", where=path)
    try:
        manifest.tally.check()
    except FormatError as error:
        raise FormatError(error.what, where=path) from None
    return manifest


def _corpus_entry(value: Any, path: object, index: int) -> CorpusEntry:
    fields = Fields(value, where=path, place=f"corpus[{index}]", allowed=_names(CorpusEntry))
    return CorpusEntry(path=fields.text("path"), size=fields.integer("size"), sha256=fields.sha256("sha256"))


def _shard_entry(value: Any, path: object, index: int) -> ShardEntry:
    fields = Fields(value, where=path, place=f"shards[{index}]", allowed=_names(ShardEntry))
    if (split := fields.text("split")) not in SPLITS:
        raise fields.wrong("split", f"one of {SPLITS}", split)
    return ShardEntry(
        file=fields.file_name("file"),
        split=split,
        rows=fields.integer("rows", minimum=1, maximum=(1 << 32) - 1),
        tokens=fields.integer("tokens", minimum=1),
        bytes=fields.integer("bytes", minimum=1),
        sha256=fields.sha256("sha256"),
        odometer=fields.text("odometer", pattern=_HEX[32]),
    )


def _tokenizer_entry(value: Any, path: object) -> TokenizerEntry:
    fields = Fields(value, where=path, place="tokenizer", allowed=_names(TokenizerEntry))
    vocab_size = fields.integer("vocab_size", minimum=6, maximum=1 << 31)
    special = Fields(fields.object("special_ids"), where=path, place="tokenizer.special_ids", allowed=_names(SpecialIds))
    if (template := fields.text("pair_template")) not in PAIR_TEMPLATES:
        raise fields.wrong("pair_template", f"one of {PAIR_TEMPLATES}", template)
    entries = fields.array("files", maximum=64)
    files = [Fields(v, where=path, place=f"tokenizer.files[{i}]", allowed=_names(FileEntry)) for i, v in enumerate(entries)]
    ids = {name: special.integer(name, maximum=vocab_size - 1) for name in sorted(_names(SpecialIds))}
    if len(set(ids.values())) != len(ids):
        raise special.wrong("", "five different ids", ids)
    return TokenizerEntry(
        kind=fields.text("kind", pattern=_KIND),
        folder=fields.file_name("folder"),
        hash=fields.sha256("hash"),
        files=tuple(FileEntry(name=f.file_name("name"), size=f.integer("size"), sha256=f.sha256("sha256")) for f in files),
        vocab_size=vocab_size,
        special_ids=SpecialIds(**ids),
        pair_template=template,
    )


def _tally(value: Any, path: object) -> Tally:
    fields = Fields(value, where=path, place="tally", allowed=frozenset({"read", "kept", "dropped", "rows"}))
    rows = Fields(fields.object("rows"), where=path, place="tally.rows", allowed=frozenset({"read", "kept", "dropped"}))
    return Tally(
        read=fields.integer("read"), kept=fields.integer("kept"), dropped=fields.counts("dropped"),
        rows_read=rows.integer("read"), rows_kept=rows.integer("kept"), rows_dropped=rows.counts("dropped"),
    )  # fmt: skip
