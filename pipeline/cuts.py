"""Where a stream of bytes is cut into units: at the first document border at or after every `unit_bytes`.

The cuts depend on the bytes alone, never on the portions they arrive in; at most a portion and 64 KiB are held.
"""

from __future__ import annotations

from typing import Protocol

from pipeline import limits
from pipeline.errors import InputError
from pipeline.format_protocol import Format

# White space that belongs to a border is looked at this far; a unit may well begin with more of it.
_BORDER_BYTES = 1 << 16


class UnitSink(Protocol):
    """Takes the bytes of one unit after the other."""

    def write(self, data: bytes) -> None: ...

    def end_unit(self) -> None: ...

    @property
    def row(self) -> int:
        """The row that the next byte belongs to."""
        ...


class Cutter:
    """Passes bytes on to a sink and tells it where units end; see the module docstring.

    Where no document ends within `MAX_DOCUMENT_BYTES` of the size of a unit, a format that `splits_anywhere` is cut after the
    next row; for any other InputError is raised.
    """

    def __init__(self, format: Format, unit_bytes: int, path: str, sink: UnitSink) -> None:
        self._format, self._unit_bytes, self._path, self._sink = format, unit_bytes, path, sink
        self._held = b""
        self._at = 0  # where in `_held` the bytes begin that the sink has not got
        self._length = 0  # bytes of the present unit that the sink has got

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._held = self._held[self._at :] + data
        self._at = 0
        self._advance(at_end=False)

    def finish(self) -> None:
        """Say that the stream has ended."""
        self._advance(at_end=True)
        if self._length:
            self._end_unit()

    def _advance(self, *, at_end: bool) -> None:
        while True:
            cut, keep = self._find(at_end)
            if cut is None:
                break
            self._emit(cut)
            self._end_unit()
        self._emit(len(self._held) if at_end else keep)

    def _emit(self, end: int) -> None:
        if end > self._at:
            self._sink.write(self._held[self._at : end])
            self._length += end - self._at
            self._at = end

    def _end_unit(self) -> None:
        self._sink.end_unit()
        self._length = 0

    def _find(self, at_end: bool) -> tuple[int | None, int]:
        """Return where the present unit ends, None when that is not known yet; and up to where bytes are no longer needed."""
        held, size = self._held, len(self._held)
        begin = self._at - self._length  # of the unit, in terms of `held`; negative when it began earlier
        first = max(begin + self._unit_bytes - 1, self._at)
        limit = begin + self._unit_bytes + limits.MAX_DOCUMENT_BYTES  # a border has to begin before
        found = self._border(first, limit)
        if found is not None:
            start, end = found
            # A border that only white space follows may go on in bytes not read yet.
            window = start + _BORDER_BYTES
            return (end, 0) if size >= window or held[end:window].strip() else (None, start)
        if size >= limit + _BORDER_BYTES or (at_end and size > limit):
            if not self._format.splits_anywhere:
                raise InputError(
                    f"no document ends within {limits.MAX_DOCUMENT_BYTES:,} bytes", where=f"{self._path}:{self._sink.row}",
                    hint="Split the document, or take it out",
                )  # fmt: skip
            row_end = held.find(b"\n", max(limit, self._at))
            if row_end >= 0:
                return row_end + 1, 0
        return None, min(max(first, size - _BORDER_BYTES), size)

    def _border(self, first: int, limit: int) -> tuple[int, int] | None:
        """Return begin and end of the first border that begins in [first, limit) of what is held.

        Borders longer than `_BORDER_BYTES` do not count, or end there: patterns need memory for every row they span.
        """
        border, held = self._format.border, self._held
        for begin in range(first, min(limit, len(held)), _BORDER_BYTES):
            end = min(begin + _BORDER_BYTES, limit)
            position = begin
            while (found := border.search(held, position, end + _BORDER_BYTES)) is not None and found.start() < end:
                whole = border.match(held, found.start(), found.start() + _BORDER_BYTES)
                if whole is not None:
                    return whole.span()
                position = found.start() + 1
        return None
