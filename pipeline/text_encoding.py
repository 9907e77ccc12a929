"""Rows of a byte stream in any encoding, as UTF-8: what cannot be decoded or is too long keeps its place, marked.

Rows are found before anything is decoded, so that one bad row never shifts the number of the next.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import limits
from pipeline.dropped_row import LINE_TOO_LONG, dropped_row, invalid_encoding, without_marks
from pipeline.errors import EncodingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BYTE_ORDER_MARKS = {
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}
# The most frequent characters of Chinese text, both scripts: text decoded as what it is is full of them.
_FREQUENT = frozenset(
    "的一是不了在人有我他这這中大来來上国國个個到说說们們为為子和你地出道也时時年得就那要下以生会會自着去之过過家学學对對可里裡后後"
    "小么麼心多天而能好都然没沒日于於起还還发發成事只作当當想看文无開手十用主行方又如前所本见見经經头頭面公同三已老从從动動两兩长長。，、"
)
# NUL among them: what is left between the line feeds of UTF-16 taken for another encoding.
_BLANK = b" \t\r\n\v\f\0"
_CHINESE = ("gb18030", "big5")


@dataclass(frozen=True, kw_only=True)
class RowCodec:
    """How rows are parted and decoded. codec: of one byte order; newline: its line feed; skip: bytes of the mark."""

    encoding: str
    codec: str
    newline: bytes
    skip: int

    @classmethod
    def of(cls, encoding: str, head: bytes) -> RowCodec:
        """Choose by the first bytes of the stream where an encoding has two byte orders (little-endian when they do not tell)."""
        codec, skip = encoding, 0
        if encoding in _BYTE_ORDER_MARKS:
            codec = f"{encoding}-le"
            for mark, name in _BYTE_ORDER_MARKS[encoding]:
                if head.startswith(mark):
                    codec, skip = name, len(mark)
        return cls(encoding=encoding, codec=codec, newline="\n".encode(codec), skip=skip)

    @property
    def width(self) -> int:
        return len(self.newline)

    def newlines(self, data: bytes) -> npt.NDArray[np.int64]:
        """Return the offsets int64[n] of all line feeds, aligned to their width."""
        import numpy as np

        kind = {1: "u1", 2: "<u2", 4: "<u4"}[self.width]
        units = np.frombuffer(data, kind, count=len(data) // self.width)
        return np.flatnonzero(units == int.from_bytes(self.newline, "little")) * self.width

    def first_newline(self, data: bytes) -> int:
        if self.width == 1:
            return data.find(self.newline)
        found = self.newlines(data)
        return int(found[0]) if len(found) else -1

    def last_newline(self, data: bytes) -> int:
        if self.width == 1:
            return data.rfind(self.newline)
        found = self.newlines(data)
        return int(found[-1]) if len(found) else -1

    def rows(self, data: bytes) -> list[bytes]:
        """Return the rows without their line feeds; what follows the last one counts as a row."""
        if self.width == 1:
            return data.split(self.newline)
        ends = self.newlines(data).tolist()
        begins = [0, *(end + self.width for end in ends)]
        return [data[begin:end] for begin, end in zip(begins, [*ends, len(data)], strict=True)]

    def to_utf8(self, rows: bytes) -> bytes:
        """Return whole rows as UTF-8; UTF-8 itself passes unchecked, for the reader of the format checks it."""
        if self.encoding == "utf-8":
            return without_marks(rows)
        try:
            text = rows.decode(self.codec)
            if text.count("\n") == (rows.count(self.newline) if self.width == 1 else len(self.newlines(rows))):
                return text.encode()
        except UnicodeError:
            pass
        return b"\n".join(self._row(row) for row in self.rows(rows))

    def _row(self, row: bytes) -> bytes:
        try:
            text = row.decode(self.codec).encode()
        except UnicodeError:
            return dropped_row(invalid_encoding(self.encoding))
        return text if b"\n" not in text else dropped_row(invalid_encoding(self.encoding))

    def share_decoded(self, head: bytes, *, whole: bool) -> tuple[int, int]:
        """Return how many of the first rows that are not blank decode, and how many there are.

        The last row counts only when `head` is the `whole` stream, unless it is the only one.
        """
        rows = self.rows(head[self.skip :])
        last = rows.pop() if len(rows) > 1 and not whole else None
        good = [row for row in rows if row.strip(_BLANK)]
        if not good and last is not None:
            good, whole = [last], False
        return sum(1 for i, row in enumerate(good) if self._decodes(row, final=whole or i < len(good) - 1)), len(good)

    def _decodes(self, row: bytes, *, final: bool) -> bool:
        try:
            codecs.getincrementaldecoder(self.codec)("strict").decode(row, final)
        except UnicodeError:
            return False
        return True


def utf8_rows(chunks: Iterable[bytes], codec: RowCodec) -> Iterator[bytes]:
    """Yield the stream as UTF-8, in pieces of whole rows.

    A row of more than `MAX_LINE_BYTES` is replaced by one that says so; at most one such row is held. Chunks must be no
    longer than that themselves.
    """
    held: list[bytes] = []
    held_bytes, skip, odd, too_long = 0, codec.skip, b"", False
    for given in chunks:
        chunk, skip = given[skip:], max(skip - len(given), 0)
        if codec.width > 1:
            chunk = odd + chunk
            even = len(chunk) // codec.width * codec.width
            chunk, odd = chunk[:even], chunk[even:]
        if too_long:
            if (first := codec.first_newline(chunk)) < 0:
                continue
            chunk, too_long = chunk[first + codec.width :], False
            yield dropped_row(LINE_TOO_LONG) + b"\n"
        last = codec.last_newline(chunk)
        if last < 0:
            held.append(chunk)
            held_bytes += len(chunk)
            if held_bytes > limits.MAX_LINE_BYTES:
                held, held_bytes, too_long = [], 0, True
            continue
        end = last + codec.width
        first = codec.first_newline(chunk)
        if held_bytes + first > limits.MAX_LINE_BYTES:
            held = []
            yield dropped_row(LINE_TOO_LONG) + b"\n"
            yield codec.to_utf8(chunk[first + codec.width : end])
        else:
            body = b"".join([*held, chunk[:end]])
            held = []
            yield codec.to_utf8(body)
        held, held_bytes = [chunk[end:]], len(chunk) - end
    rest = b"".join([*held, odd])
    if too_long:
        yield dropped_row(LINE_TOO_LONG)
    elif rest:
        yield codec.to_utf8(rest)


def require_encoding(head: bytes, encoding: str, where: object, *, whole: bool) -> None:
    """Refuse a stream most of whose first rows are not in `encoding`: single bad rows are dropped later, all of them is an error.

    Raises EncodingError that says what it looks like.
    """
    if encoding == "utf-8" and _is_plain_utf8(head, whole=whole):
        return  # most files: nothing has to be guessed
    guess = guess_encoding(head)
    codec = RowCodec.of(encoding, head)
    good, rows = codec.share_decoded(head, whole=whole)
    bad = rows - good
    nul = head.count(b"\0") * 8 > len(head) and codec.width == 1
    if not (nul and len(head) > 64) and not (bad * 2 > rows and (rows > 1 or not whole or guess is not None)):
        return
    if nul and guess is None:
        raise EncodingError("is binary data, not text", where=where, expected=f"text in {encoding}")
    looks = f"it looks like {guess.upper()}: pass --encoding {guess}" if guess else "pass --encoding with the right name"
    raise EncodingError(f"is not {encoding.upper()}: {bad} of its first {rows} rows are not; {looks}", where=where)


def _is_plain_utf8(head: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def guess_encoding(head: bytes) -> str | None:
    """Return the encoding that text which is not UTF-8 is probably in, None when nothing speaks for one."""
    for encoding in ("utf-32", "utf-16"):  # the longer mark begins with the shorter
        if any(head.startswith(mark) for mark, _ in _BYTE_ORDER_MARKS[encoding]):
            return encoding
    if b"\0" in head:
        for encoding in ("utf-16-le", "utf-16-be"):
            codec = RowCodec.of(encoding, head)
            good, rows = codec.share_decoded(head, whole=False)
            if good == rows and codec.first_newline(head) >= 0:
                return encoding
        return None
    scores = {encoding: _score(head, encoding) for encoding in _CHINESE}
    best = max(_CHINESE, key=lambda encoding: scores[encoding])
    return best if scores[best] > 0.02 else None


def _score(head: bytes, encoding: str) -> float:
    text = head.decode(encoding, "replace")
    beyond = [c for c in text if c > "\x7f"]
    if not beyond or beyond.count("\ufffd") * 50 > len(beyond):
        return 0.0
    return sum(1 for c in beyond if c in _FREQUENT) / len(beyond)
