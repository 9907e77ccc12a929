"""The framing of Arrow's stream and file formats: where messages end, and how much memory each takes, before one is decoded.

pyarrow takes the end of a file for the end of a stream, so that a stream cut between two batches reads as a shorter one, and
decompresses whatever a buffer declares. Both are settled here from the headers of the messages alone (flatbuffers, format
version 1: the fields are those of Message.fbs and File.fbs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import limits
from pipeline.compressed import ExpansionCap
from pipeline.errors import InputError

BROKEN = (ValueError, EOFError, OverflowError, struct.error)
_CONTINUES = 0xFFFFFFFF
_DICTIONARY, _RECORDS = 2, 3
_MAX_HEADER_BYTES = 32 * limits.MIB
_FILE_END = struct.Struct("<i6s")


@dataclass(frozen=True, kw_only=True)
class Message:
    """The header of one message. rows: of a batch of records; held_bytes: what its buffers take, decompressed."""

    kind: int
    rows: int
    held_bytes: int
    end: int


class MessageCap:
    """Refuses messages that would take too much memory; `mapped`: what is not compressed costs nothing."""

    def __init__(self, url: str, file_bytes: int, *, mapped: bool) -> None:
        self._url, self._file_bytes, self._mapped = url, file_bytes, mapped

    def read(self, stream: Any, row: int) -> Message | None:
        """Return the header of the message at the place of `stream`, None at an end-of-stream marker.

        `row` is the first of the next batch. Raises InputError where the stream ends without a marker or a cap is exceeded, and
        one of `BROKEN` for what is no message.
        """
        try:
            message = _read(stream, self._mapped)
        except EOFError:
            raise InputError(
                "is cut short: the end-of-stream marker of Arrow is missing", where=f"{self._url}:{row}",
                got=f"{row - 1:,} whole rows in {self._file_bytes:,} bytes", hint="Copy it, or write it, again",
            ) from None  # fmt: skip
        if message is not None:
            ExpansionCap(f"{self._url}:{row}").check(message.held_bytes, self._file_bytes)
            if message.held_bytes > limits.MAX_TABLE_BATCH_BYTES:
                raise InputError(
                    "a batch is larger than may be held in memory",
                    where=f"{self._url}:{row}",
                    got=f"{message.held_bytes:,} bytes",
                    expected=f"at most {limits.MAX_TABLE_BATCH_BYTES:,}",
                    hint="Write it in smaller batches",
                )
        return message


def stream_batches(stream: Any, opened: Any, cap: MessageCap) -> Iterator[Any]:
    """Yield the batches of a stream whose schema `opened` has read. Raises as `MessageCap.read`, and for what follows the end."""
    row = 1
    while True:
        begin = stream.tell()
        while (message := cap.read(stream, row)) is not None and message.kind != _RECORDS:
            stream.seek(message.end)
        if message is None:
            break
        stream.seek(begin)  # the dictionaries before a batch are read with it
        yield opened.read_next_batch()
        stream.seek(message.end)
        row += message.rows
    if stream.read(1):
        raise ValueError("bytes follow the end-of-stream marker of Arrow")


def file_batches(stream: Any, opened: Any, cap: MessageCap) -> Iterator[Any]:
    """Yield the batches of a file, in the order of its footer. Raises as `MessageCap.read`."""
    dictionaries, records = _footer_blocks(stream)
    for place in dictionaries:
        stream.seek(place)
        cap.read(stream, 1)
    row = 1
    for index in range(opened.num_record_batches):
        stream.seek(records[index])
        message = cap.read(stream, row)
        yield opened.get_batch(index)
        row += message.rows if message else 0


def _read(stream: Any, mapped: bool) -> Message | None:
    (size,) = struct.unpack("<I", _exactly(stream, 4))
    if size == _CONTINUES:  # formats before 0.15 begin with the size
        (size,) = struct.unpack("<I", _exactly(stream, 4))
    if not size:
        return None
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"not a message of Arrow: a header of {size:,} bytes")
    header = _exactly(stream, size)
    body = stream.tell()
    message = _Table(header, struct.unpack_from("<I", header)[0])
    kind, body_bytes = message.number(1, "<B"), message.number(3, "<q")
    if body_bytes < 0:
        raise ValueError("not a message of Arrow: a body of negative size")
    if kind not in (_DICTIONARY, _RECORDS):
        return Message(kind=kind, rows=0, held_bytes=0, end=body + body_bytes)
    batch = message.table(2) if kind == _RECORDS else message.table(2).table(1)
    held = 0 if mapped else body_bytes
    if batch.offset(3):
        held = sum(_unpacked(stream, body + offset, size) for offset, size in batch.structs(2, "<qq"))
    return Message(kind=kind, rows=batch.number(0, "<q"), held_bytes=held, end=body + body_bytes)


def _unpacked(stream: Any, place: int, size: int) -> int:
    """Return the size of a compressed buffer, which it begins with; -1 there marks one that is not compressed."""
    if size < 8:
        return max(size, 0)
    stream.seek(place)
    declared: int = struct.unpack("<q", _exactly(stream, 8))[0]
    return declared if declared >= 0 else size


def _footer_blocks(stream: Any) -> tuple[list[int], list[int]]:
    """Return where the messages of dictionaries and of records begin."""
    stream.seek(0, 2)
    end = stream.tell() - _FILE_END.size
    stream.seek(end)
    size, _ = _FILE_END.unpack(_exactly(stream, _FILE_END.size))
    stream.seek(end - size)
    data = _exactly(stream, size)
    footer = _Table(data, struct.unpack_from("<I", data)[0])
    dictionaries, records = ([place for place, *_ in footer.structs(field, "<qi4xq")] for field in (2, 3))
    return dictionaries, records


def _exactly(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


class _Table:
    """A table of flatbuffers; every access outside of `data` raises struct.error."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - struct.unpack_from("<i", data, at)[0]
        (self._fields_bytes,) = struct.unpack_from("<H", data, self._fields)

    def offset(self, field: int) -> int:
        """Return where a field lies, 0 when it is left out."""
        place = 4 + 2 * field
        if place + 2 > self._fields_bytes:
            return 0
        found: int = struct.unpack_from("<H", self._data, self._fields + place)[0]
        return self._at + found if found else 0

    def number(self, field: int, kind: str) -> int:
        place = self.offset(field)
        return struct.unpack_from(kind, self._data, place)[0] if place else 0

    def table(self, field: int) -> _Table:
        place = self._reference(field)
        return _Table(self._data, place)

    def structs(self, field: int, kind: str) -> list[tuple[Any, ...]]:
        if not self.offset(field):
            return []
        place = self._reference(field)
        (count,) = struct.unpack_from("<I", self._data, place)
        size = struct.calcsize(kind)
        if count * size > len(self._data):
            raise struct.error("a list longer than its message")
        return [struct.unpack_from(kind, self._data, place + 4 + i * size) for i in range(count)]

    def _reference(self, field: int) -> int:
        place = self.offset(field)
        if not place:
            raise struct.error(f"field {field} is missing")
        return place + int(struct.unpack_from("<I", self._data, place)[0])
