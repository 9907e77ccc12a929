"""A sample of a corpus that stands for the whole: stretches of documents, spread over all files, without reading the rest.

The corpus is seen as one circle of documents, file after file. It is cut into as many equal parts as there are to be stretches;
in each part a random byte is drawn (keyed by the seed), and the stretch begins with the next document after it and ends with
the document that makes it long enough, in the next file if need be. What begins after a random byte is no longer than other
documents, and stopping only at the end of a document gives each its weight, so that totals over bytes are estimated without
bias (Wald's identity). A corpus no larger than the sample is taken whole.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import fsspec

from pipeline.compressed import HEAD_BYTES
from pipeline.errors import InputError
from pipeline.formats import find_format, format_name
from pipeline.inputs import InputFile
from pipeline.reader_settings import ReaderSettings
from pipeline.scan import MAX_DOCUMENT_BYTES, in_place_format, scan_file
from pipeline.units import Unit, make_plan
from shards.counter import fold

STRETCHES = 128
_READ_BYTES = 1 << 18
# Beyond this a document that may be cut at any row is cut at one: what follows from it is the same.
_SEARCH_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """Bytes [begin, end) of `url` that begin and end with a document, the first of them at row `first_row` of file `path`.

    cuts: its units, if known by having read it.
    """

    file_index: int
    url: str
    path: str
    first_row: int
    lang: str
    format: str
    begin: int
    end: int
    cuts: int | None

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Consecutive documents of one file, or of several: a unit for each file."""

    units: tuple[Unit, ...]

    @property
    def size(self) -> int:
        return sum(unit.end - unit.begin for unit in self.units)


def find_sources(
    files: Sequence[InputFile], unit_bytes: int, settings: ReaderSettings, work_folder: Path
) -> tuple[list[Source], int]:  # fmt: skip
    """Return the sources of a corpus, and how many of its files had to be read in whole to know them.

    A file that can be read from any byte is a source as it is. What has to be unpacked first is scanned as a build would, into
    `work_folder`. Raises InputError.
    """
    sources: list[Source] = []
    scanned = 0
    for file in files:
        if not file.size:
            continue
        format = None
        if file.format != "datasets":
            with fsspec.open(file.url, "rb") as stream:
                format = in_place_format(stream.read(HEAD_BYTES), file, settings)
        index = sources[-1].file_index + 1 if sources else 0
        if format is not None:
            name = format_name(format, file.format, settings.field)
            sources.append(
                Source(
                    file_index=index, url=file.url, path=file.path, first_row=1, lang=file.lang, format=name, begin=0,
                    end=file.size, cuts=None,
                )
            )  # fmt: skip
            continue
        scanned += 1
        for unit in make_plan([file], [scan_file(file, unit_bytes, settings, work_folder)]).units:
            sources.append(
                Source(
                    file_index=index + unit.file_index, url=unit.url, path=unit.path, first_row=unit.first_row, lang=unit.lang,
                    format=unit.format, begin=unit.begin, end=unit.end, cuts=1,
                )
            )  # fmt: skip
    return sources, scanned


def take_stretches(sources: Sequence[Source], sample_bytes: int, seed: int) -> list[Stretch]:
    """Return stretches that together have about `sample_bytes` bytes, or the whole corpus. Raises InputError."""
    ends = list(accumulate(source.size for source in sources))
    total = ends[-1]
    if total <= sample_bytes:
        return _everything(sources, max(total // STRETCHES, 1))
    stretches: list[Stretch] = []
    for number in range(STRETCHES):
        position = (number * total + fold(seed, number) % total) // STRETCHES
        at = bisect_right(ends, position)
        begin = sources[at].end - (ends[at] - position)
        stretches.append(_stretch(sources, at, begin, sample_bytes // STRETCHES, len(stretches)))
    return stretches


def _everything(sources: Sequence[Source], size: int) -> list[Stretch]:
    stretches: list[Stretch] = []
    for source in sources:
        begin, row = source.begin, source.first_row
        with fsspec.open(source.url, "rb") as stream:
            while begin < source.end:
                end = _border(stream, source, begin + size)
                data = _read(stream, begin, end)
                stretches.append(Stretch(units=(_unit(data, source, begin, len(stretches), row),)))
                begin, row = end, row + data.count(b"\n")
    return stretches


def _stretch(sources: Sequence[Source], at: int, position: int, size: int, number: int) -> Stretch:
    units: list[Unit] = []
    left = size
    begin: int | None = None
    for step in range(len(sources) + 1):
        source = sources[(at + step) % len(sources)]
        with fsspec.open(source.url, "rb") as stream:
            begin = _border(stream, source, position) if step == 0 else source.begin
            if begin < source.end:
                end = _border(stream, source, begin + left)
                units.append(_unit(_read(stream, begin, end), source, begin, number))
                left -= end - begin
        if left <= 0:
            break
    return Stretch(units=tuple(units))


def _unit(data: bytes, source: Source, begin: int, number: int, row: int | None = None) -> Unit:
    """Return the unit of bytes `data` from `begin` on; `row` is that of the first of them, if known.

    Otherwise messages count from a row that they name: all before it would have to be read to know its number.
    """
    path = source.path
    if row is None:
        skipped = begin - source.begin
        row = source.first_row + skipped
        path += f" (row {row} is the one {skipped} bytes behind row {source.first_row})" if skipped else ""
    return Unit(
        index=number, file_index=source.file_index, url=source.url, path=path, lang=source.lang, format=source.format,
        begin=begin, end=begin + len(data), first_row=row, sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def _read(stream: BinaryIO, begin: int, end: int) -> bytes:
    stream.seek(begin)
    return stream.read(end - begin)


def _border(stream: BinaryIO, source: Source, position: int) -> int:
    """Return where the first document at or after `position` begins, or the end of the source."""
    if position >= source.end:
        return source.end
    if position <= source.begin:
        return source.begin
    format = find_format(source.format)
    begin = position - 1  # a border may end just here
    stream.seek(begin)
    data = bytearray()
    while True:
        chunk = stream.read(min(max(_READ_BYTES, len(data)), source.end - begin - len(data)))
        data += chunk
        found = format.border.search(data)
        # A border that white space follows may go on in bytes not read yet.
        if found is not None and (found.end() < len(data) or not chunk):
            return begin + found.end()
        if not chunk:
            return source.end
        if len(data) >= _SEARCH_BYTES and format.splits_anywhere and (row := data.find(b"\n")) >= 0:
            return begin + row + 1
        if len(data) > MAX_DOCUMENT_BYTES:
            raise InputError("a document is too long", where=source.url, expected=f"at most {MAX_DOCUMENT_BYTES >> 20} MiB")
