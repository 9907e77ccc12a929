"""What is spooled from tables: a JSON array a line, ``[row, text]``, or ``[row, null, reason]`` for a row that is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline import limits
from pipeline.documents import Document, Ledger
from pipeline.dropped_row import LINE_TOO_LONG


@dataclass(frozen=True)
class RowsFormat:
    """One record a line, one document a record; `first_row` is not needed, each line says its own number."""

    name: str = "rows"
    border: re.Pattern[bytes] = re.compile(rb"\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        for line in data.splitlines():
            row, text, *reason = json.loads(line)
            lines = [part for part in text.replace("\r", "").split("\n") if part.strip()] if text is not None else []
            if lines:
                yield Document.of(lines, rows=(row,) * len(lines))
            else:
                why = reason[0] if reason else "empty"
                ledger.drop_row(row, why)
                ledger.drop_document(why)


def encoded_rows(records: Iterable[tuple[int, str | None, str]], piece_bytes: int = 1 << 20) -> Iterator[bytes]:
    """Yield the lines of (row, text or None, reason) in pieces of about a mebibyte."""
    piece: list[bytes] = []
    size = 0
    for row, text, reason in records:
        line = _line(row, text, reason)
        piece.append(line)
        size += len(line)
        if size >= piece_bytes:
            yield b"".join(piece)
            piece, size = [], 0
    yield b"".join(piece)


def _line(row: int, text: str | None, reason: str) -> bytes:
    if text is not None and len(text) > limits.MAX_LINE_BYTES:
        text, reason = None, LINE_TOO_LONG
    if text is not None:
        try:
            line = json.dumps([row, text], ensure_ascii=False).encode()
            if len(line) <= limits.MAX_LINE_BYTES:
                return line + b"\n"
            reason = LINE_TOO_LONG
        except UnicodeEncodeError:
            reason = "invalid_unicode"
    return json.dumps([row, None, reason]).encode() + b"\n"
