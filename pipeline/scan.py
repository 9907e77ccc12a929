"""One pass over an input file: sha256 of the whole, and cuts at the first document border at or after every `unit_bytes`.

Plain UTF-8 files are cut where they lie. Whatever cannot be read from the middle (compressed files, members of archives, other
encodings, tables, files with a row too long to be held or one that apes our mark) is spooled first, see `pipeline.spool`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec

from pipeline import limits
from pipeline.compressed import Peekable, SourceStream, archive_of, compression_of, refuse_unknown_container
from pipeline.cuts import Cutter
from pipeline.dropped_row import holds_mark
from pipeline.errors import InputError
from pipeline.format_protocol import Format
from pipeline.formats import detect, format_name, table_kind
from pipeline.inputs import InputFile
from pipeline.reader_settings import ReaderSettings

MIB = limits.MIB
MAX_DOCUMENT_BYTES = limits.MAX_DOCUMENT_BYTES
MAX_DEFAULT_UNIT_BYTES = 16 * MIB
ARCHIVE = "archive"  # the format of a scan that has members
_READ_BYTES = 4 * MIB


@dataclass(frozen=True, kw_only=True)
class FileScan:
    """What one pass over an input file found.

    format: a `format_name`, or `ARCHIVE`, which has `members` and no cuts of its own. size, sha256: of the file as it lies
    there, of a member of an archive its decompressed bytes. cuts: (begin, end, first row, sha256) of its units, in order;
    blocks: the spooled file that holds each of them, empty when that is the input itself. path: of a member,
    ``archive.zip!/name``. skipped: members of an archive passed over, by kind. byte_order_mark: whether one was taken off before
    the units were cut, so that no reader of theirs can count it.
    """

    format: str
    size: int
    sha256: str
    cuts: tuple[tuple[int, int, int, str], ...]
    blocks: tuple[str, ...] = ()
    path: str | None = None
    members: tuple[FileScan, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()
    byte_order_mark: bool = False

    @property
    def units(self) -> int:
        return len(self.cuts) + sum(member.units for member in self.members)


def default_unit_bytes(total_bytes: int) -> int:
    """Return the unit size for an input: a 64th of it, between 1 and 16 MiB.

    A unit of that size may hold the longest document allowed and still be built in less than 1 GB.
    """
    return min(max(total_bytes // 64, MIB), MAX_DEFAULT_UNIT_BYTES)


def scan_file(
    file: InputFile, unit_bytes: int, settings: ReaderSettings = ReaderSettings(), work: Path | None = None  # noqa: B008 - frozen
) -> FileScan:  # fmt: skip
    """Read one input file and cut it; what has to be spooled goes below `work`. Raises InputError, naming file and row."""
    found = None if file.format == "datasets" else _scan_in_place(file, unit_bytes, settings)
    if found is not None:
        return found
    if work is None:
        raise InputError("cannot be cut in place, and there is no folder to spool it to", where=file.path)
    from pipeline.spool import spool_file

    return spool_file(file, unit_bytes, settings, work)


def in_place_format(head: bytes, file: InputFile, settings: ReaderSettings) -> Format | None:
    """Return the format of a file that can be cut where it lies, None when it has to be spooled.

    `head` are its first `HEAD_BYTES` bytes. Raises InputError for what is no text at all, or text in another encoding.
    """
    refuse_unknown_container(head, file.path)
    if settings.encoding != "utf-8" or compression_of(head) or archive_of(head):
        return None
    if table_kind(head, file.format, file.path) is not None:
        return None
    return detect(head, file.format, file.path)


def _scan_in_place(file: InputFile, unit_bytes: int, settings: ReaderSettings) -> FileScan | None:
    """Return the scan of a plain file, None when it has to be spooled."""
    with fsspec.open(file.url, "rb") as raw:
        source = SourceStream(raw)
        stream = Peekable(source)
        format = in_place_format(stream.head, file, settings)
        if format is None or not raw.seekable():
            return None
        sink = _Places()
        cutter = Cutter(format, unit_bytes, file.path, sink)
        for chunk in _chunks(stream):
            if chunk is None:
                return None
            cutter.feed(chunk)
        cutter.finish()
    name = format_name(format, file.format, settings.field)
    return FileScan(format=name, size=source.size, sha256=source.sha256, cuts=tuple(sink.cuts))


def _chunks(stream: Peekable) -> Iterator[bytes | None]:
    """Yield the stream in portions; None where a row is longer than may be held, or could be taken for one of ours."""
    size = min(_READ_BYTES, limits.MAX_LINE_BYTES)
    unended, before = 0, b""
    while chunk := stream.read(size):
        last = chunk.rfind(b"\n")
        if unended + (len(chunk) if last < 0 else chunk.find(b"\n")) > limits.MAX_LINE_BYTES:
            yield None
            return
        if holds_mark(chunk, before):
            yield None
            return
        before = chunk[-1:]
        unended = unended + len(chunk) if last < 0 else len(chunk) - last - 1
        yield chunk


class _Places:
    """Notes where the units of a file lie."""

    def __init__(self) -> None:
        self.cuts: list[tuple[int, int, int, str]] = []
        self.row = 1
        self._begin, self._size, self._first_row, self._hash = 0, 0, 1, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        self.row += data.count(b"\n")

    def end_unit(self) -> None:
        end = self._begin + self._size
        self.cuts.append((self._begin, end, self._first_row, self._hash.hexdigest()))
        self._begin, self._size, self._first_row, self._hash = end, 0, self.row, hashlib.sha256()
