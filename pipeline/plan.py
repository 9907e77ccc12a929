"""The plan: which bytes of which file become which shard, fixed before the work and whatever the number of workers.

Every input is read once: sha256 of the whole, and cuts at the first document border at or after every `unit_bytes`. A unit
knows its bytes, its first row and its own sha256, so that a file changed between planning and building is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import fsspec

from pipeline.errors import InputError
from pipeline.inputs import InputFile
from pipeline.readers import FORMATS, Format, detect
from shards.canonical import fingerprint
from shards.manifest import CorpusEntry

MIB = 1 << 20
MAX_DOCUMENT_BYTES = 64 * MIB
_READ_BYTES = 4 * MIB


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A run of whole documents of one file: bytes [begin, end), starting at 1-based row `first_row`."""

    index: int
    file_index: int
    url: str
    lang: str
    format: str
    begin: int
    end: int
    first_row: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FileScan:
    """What one pass over an input file found; `cuts` are (begin, end, first row, sha256) of its units, in order."""

    format: str
    size: int
    sha256: str
    cuts: tuple[tuple[int, int, int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Units of all files, in order, and the corpus they come from."""

    corpus: tuple[CorpusEntry, ...]
    units: tuple[Unit, ...]

    def plan_hash(self, recipe_hash: str, tokenizer_hash: str) -> str:
        """Return the hash that names the shards: of recipe, tokenizer and corpus content."""
        return fingerprint([recipe_hash, tokenizer_hash, [[entry.path, entry.sha256] for entry in self.corpus]])


def default_unit_bytes(total_bytes: int) -> int:
    """Return the unit size for an input: a 64th of it, between 1 and 64 MiB."""
    return min(max(total_bytes // 64, MIB), 64 * MIB)


def scan_file(file: InputFile, unit_bytes: int) -> FileScan:
    """Read one input file and cut it. Raises InputError, naming file and row."""
    whole = hashlib.sha256()
    cuts: list[tuple[int, int, int, str]] = []
    pending = bytearray()
    begin, row, size = 0, 1, 0
    found: Format | None = None

    def cut(length: int) -> None:
        nonlocal begin, row
        piece = bytes(pending[:length])
        cuts.append((begin, begin + length, row, hashlib.sha256(piece).hexdigest()))
        begin += length
        row += piece.count(b"\n")
        del pending[:length]

    with fsspec.open(file.url, "rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            if found is None:
                found = detect(chunk, file.format, file.path)
            whole.update(chunk)
            size += len(chunk)
            pending += chunk
            while (length := _cut_at(pending, found, unit_bytes, f"{file.path}:{row}", at_end=False)) is not None:
                cut(length)
    if found is not None:
        while (length := _cut_at(pending, found, unit_bytes, f"{file.path}:{row}", at_end=True)) is not None:
            cut(length)
    if pending:
        cut(len(pending))
    name = found.name if found is not None else "text"
    return FileScan(format=name, size=size, sha256=whole.hexdigest(), cuts=tuple(cuts))


def _cut_at(pending: bytearray, format: Format, unit_bytes: int, where: str, *, at_end: bool) -> int | None:
    """Return where to cut what was read so far, None to read on; the answer does not depend on how much was read at once."""
    if len(pending) < unit_bytes:
        return None
    border = format.border.search(pending, unit_bytes - 1)
    if border is not None:
        # A border that only white space follows may go on in bytes not read yet.
        return border.end() if at_end or pending[border.end() :].strip() else None
    if len(pending) < unit_bytes + MAX_DOCUMENT_BYTES:
        return None
    line_end = pending.rfind(b"\n", 0, unit_bytes + MAX_DOCUMENT_BYTES)
    if line_end < 0 or not format.splits_anywhere:
        what = "a line" if line_end < 0 else "a document"
        raise InputError(f"{what} is longer than {MAX_DOCUMENT_BYTES // MIB} MiB", where=where, hint="Split it, or take it out")
    return line_end + 1


def make_plan(files: Sequence[InputFile], scans: Sequence[FileScan]) -> Plan:
    """Number the units of all files."""
    units: list[Unit] = []
    for file_index, (file, scan) in enumerate(zip(files, scans, strict=True)):
        for begin, end, first_row, sha256 in scan.cuts:
            units.append(
                Unit(
                    index=len(units), file_index=file_index, url=file.url, lang=file.lang, format=scan.format,
                    begin=begin, end=end, first_row=first_row, sha256=sha256,
                )
            )  # fmt: skip
    corpus = tuple(CorpusEntry(path=f.path, size=s.size, sha256=s.sha256) for f, s in zip(files, scans, strict=True))
    return Plan(corpus=corpus, units=tuple(units))


def read_unit(unit: Unit) -> bytes:
    """Return the unit's bytes. Raises InputError when they are not those that were planned."""
    with fsspec.open(unit.url, "rb") as stream:
        stream.seek(unit.begin)
        data: bytes = stream.read(unit.end - unit.begin)
    if hashlib.sha256(data).hexdigest() != unit.sha256:
        raise InputError(
            "changed while it was being read", where=f"{unit.url}, bytes {unit.begin} to {unit.end}", hint="Start the build again"
        )
    return data


def unit_format(unit: Unit) -> Format:
    """Return the reader of a unit's bytes."""
    return FORMATS[unit.format]
