"""How a spooled block says that a row was left out: a row that is no UTF-8, with the reason written in it.

It keeps its place, so that rows are still counted right and the rows around it stay one document.

Only we may write such rows. What is spooled as it is goes through `without_marks`, and a plain file that holds a mark is spooled.
"""

from __future__ import annotations

import re

LINE_TOO_LONG = "line_too_long"
INVALID_UTF8 = "invalid_utf8"

_FIRST, _MARK, _NO_MARK = b"\xff", b"\xff!", b"\xff?"
_REASON = re.compile(rb"\xff!(line_too_long|invalid_[a-z0-9_]{1,32})")


def dropped_row(reason: str) -> bytes:
    """Return the row, without a line end, that stands for a row left out for `reason`."""
    return _MARK + reason.encode("ascii")


def holds_mark(data: bytes, before: bytes = b"") -> bool:
    """Return whether bytes hold what could be taken for such a row; `before` ends with the byte before them, if there is one."""
    # One byte is looked for at many times the speed of two, and this one is in no UTF-8.
    return (_FIRST in data and _MARK in data) or (before[-1:] == _FIRST and data[:1] == _MARK[1:])


def without_marks(rows: bytes) -> bytes:
    """Return whole rows of a stranger so that none is taken for such a row; those changed are no UTF-8, before and after."""
    return rows.replace(_MARK, _NO_MARK) if _FIRST in rows else rows


def drop_reason(raw: bytes) -> str:
    """Return why a row that is not UTF-8 is left out."""
    found = _REASON.fullmatch(raw)
    return found[1].decode("ascii") if found else INVALID_UTF8


def invalid_encoding(encoding: str) -> str:
    """Return the reason for a row that is not in `encoding` (``utf-8`` → ``invalid_utf8``)."""
    return "invalid_" + re.sub(r"[^a-z0-9_]", "", encoding.lower())
