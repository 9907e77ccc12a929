"""The plan: which bytes of which file become which shard, fixed before the work and whatever the number of workers.

Every member of an archive counts as a file of its own. The bytes of a unit lie in the input file or in a spooled block.
A unit knows its bytes, its first row and its own sha256, so that a file changed between planning and building is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import fsspec

from pipeline.errors import InputError
from pipeline.format_protocol import Format
from pipeline.formats import find_format
from pipeline.inputs import InputFile
from pipeline.scan import ARCHIVE, FileScan
from shards.canonical import fingerprint
from shards.manifest import CorpusEntry


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A run of whole documents of one file: bytes [begin, end) of `url`, starting at 1-based row `first_row` of the file.

    file_index: position of the file in `Plan.corpus`; url: of the file, or of the spooled block that holds the bytes;
    path: of the file, for messages.
    """

    index: int
    file_index: int
    url: str
    path: str
    lang: str
    format: str
    begin: int
    end: int
    first_row: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.path}, the {self.end - self.begin:,} bytes that begin with row {self.first_row}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Units of all files, in order, and the corpus they come from. marked: files that lost a byte order mark before the cut."""

    corpus: tuple[CorpusEntry, ...]
    units: tuple[Unit, ...]
    marked: tuple[str, ...] = ()

    def plan_hash(self, recipe_hash: str, tokenizer_hash: str) -> str:
        """Return the hash that names the shards: of recipe, tokenizer and corpus content."""
        return fingerprint([recipe_hash, tokenizer_hash, [[entry.path, entry.sha256] for entry in self.corpus]])


def flatten(files: Sequence[InputFile], scans: Sequence[FileScan]) -> tuple[tuple[InputFile, ...], tuple[FileScan, ...]]:
    """Return files and scans with every archive replaced by its members; applied again, it changes nothing."""
    pairs: list[tuple[InputFile, FileScan]] = []
    for file, scan in zip(files, scans, strict=True):
        if scan.format == ARCHIVE:
            pairs += [(replace(file, path=member.path or file.path, size=member.size), member) for member in scan.members]
        else:
            pairs.append((file, scan))
    return tuple(file for file, _ in pairs), tuple(scan for _, scan in pairs)


def make_plan(files: Sequence[InputFile], scans: Sequence[FileScan]) -> Plan:
    """Number the units of all files."""
    files, scans = flatten(files, scans)
    units: list[Unit] = []
    for file_index, (file, scan) in enumerate(zip(files, scans, strict=True)):
        for (begin, end, first_row, sha256), url in zip(scan.cuts, scan.blocks or (file.url,) * len(scan.cuts), strict=True):
            units.append(
                Unit(
                    index=len(units), file_index=file_index, url=url, path=file.path, lang=file.lang, format=scan.format,
                    begin=begin, end=end, first_row=first_row, sha256=sha256,
                )
            )  # fmt: skip
    corpus = tuple(CorpusEntry(path=f.path, size=s.size, sha256=s.sha256) for f, s in zip(files, scans, strict=True))
    marked = tuple(file.path for file, scan in zip(files, scans, strict=True) if scan.byte_order_mark)
    return Plan(corpus=corpus, units=tuple(units), marked=marked)


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


def first_bytes(plan: Plan, max_bytes: int) -> Iterator[tuple[Unit, bytes]]:
    """Yield the first `max_bytes` of each file, unit by unit; a document cut there is left out."""
    left: dict[int, int] = {}
    for unit in plan.units:
        size = unit.end - unit.begin
        room = left.get(unit.file_index, max_bytes)
        left[unit.file_index] = room - size
        if size <= room:
            yield unit, read_unit(unit)
        elif room > 0:
            with fsspec.open(unit.url, "rb") as stream:
                stream.seek(unit.begin)
                data: bytes = stream.read(room)
            end = data.rfind(b"\n") + 1
            for border in unit_format(unit).border.finditer(data):
                end = border.end()
            yield unit, data[:end]


def unit_format(unit: Unit) -> Format:
    """Return the reader of a unit's bytes."""
    return find_format(unit.format, unit.lang)
