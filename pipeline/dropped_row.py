"""How a spooled block says that a row was left out: a row that is no UTF-8, with the reason written in it.

It keeps its place, so that rows are still counted right and the rows around it stay one document.
"""

from __future__ import annotations

import re

LINE_TOO_LONG = "line_too_long"
INVALID_UTF8 = "invalid_utf8"

_MARK = b"\xff!"
# Only what the spool writes: rows of a stranger's file cannot choose other words.
_REASON = re.compile(rb"\xff!(line_too_long|invalid_[a-z0-9_]{1,32})")


def dropped_row(reason: str) -> bytes:
    """Return the row, without a line end, that stands for a row left out for `reason`."""
    return _MARK + reason.encode("ascii")


def drop_reason(raw: bytes) -> str:
    """Return why a row that is not UTF-8 is left out."""
    found = _REASON.fullmatch(raw)
    return found[1].decode("ascii") if found else INVALID_UTF8


def invalid_encoding(encoding: str) -> str:
    """Return the reason for a row that is not in `encoding` (``utf-8`` → ``invalid_utf8``)."""
    return "invalid_" + re.sub(r"[^a-z0-9_]", "", encoding.lower())
