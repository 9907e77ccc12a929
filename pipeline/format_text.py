"""Plain text: a sentence or a paragraph per line, documents set apart by blank lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.documents import Document, Ledger
from pipeline.rows import decoded_rows, decoded_whole

# Line feeds with nothing but white space between them, from the one that ends a document on.
# (Not written as a repeated group: that would cost memory for each blank row.)
_GAP = re.compile(r"\n[^\S\n]*\n(?:\s*\n)?")
_BLANK_START = re.compile(r"\s*\n")


@dataclass(frozen=True)
class TextFormat:
    """See the module docstring."""

    name: str = "text"
    border: re.Pattern[bytes] = re.compile(rb"\n(?:[ \t\r]*\n)+")
    splits_anywhere: bool = True

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        text = decoded_whole(data)
        if text is None:
            yield from _by_rows(data, first_row, ledger)
            return
        begin, row = 0, first_row
        if (blank := _BLANK_START.match(text)) is not None:
            begin, row = blank.end(), row + text.count("\n", 0, blank.end())
        for gap in _GAP.finditer(text, begin):
            end = gap.start()
            rows = range(row, row + text.count("\n", begin, end) + 1)
            yield Document(text=text[begin:end], rows=rows)
            row = rows.stop + text.count("\n", end + 1, gap.end())
            begin = gap.end()
        rest = text[begin:].removesuffix("\n")
        if rest and not rest.isspace():
            lines = rest.split("\n")
            if lines[-1].isspace():  # white space after the last line feed is no line
                lines.pop()
            yield Document.of(lines, range(row, row + len(lines)))


def _by_rows(data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
    """Read text some of whose rows are not UTF-8."""
    lines: list[str] = []
    rows: list[int] = []
    for row, line in decoded_rows(data, first_row, ledger):
        if line and not line.isspace():
            lines.append(line)
            rows.append(row)
        elif lines:
            yield Document.of(lines, tuple(rows))
            lines, rows = [], []
    if lines:
        yield Document.of(lines, tuple(rows))
