"""Rows of a file: lines split at ``\\n`` and nothing else.

A row that is not UTF-8 is dropped and counted with its number; the rows around it stay. Carriage returns at the end of a row
are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.documents import Ledger
from pipeline.dropped_row import drop_reason

_RETURNS = re.compile(r"\r+(?=\n|\Z)")


def decoded_whole(data: bytes) -> str | None:
    """Return the rows of `data`, parted by ``\\n``, as one string; None when a row is not UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return _RETURNS.sub("", text) if "\r" in text else text


def decoded_rows(data: bytes, first_row: int, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Yield (row, line without its line end) for each row that is UTF-8, blank ones included."""
    text = decoded_whole(data)
    if text is not None:
        yield from enumerate(text.split("\n"), first_row)
        return
    for row, raw in enumerate(data.split(b"\n"), first_row):
        try:
            yield row, raw.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError:
            ledger.drop_row(row, drop_reason(raw))
