"""Where Chinese sentences end.

A cut follows a run of ``。！？；…`` with the closing quotes and brackets after it. ``!?;`` count where a Han character, an
opening quote or the end of the line follows. No end are ``；`` between two digits, a mark with a comma or colon after it
(``！”，``) and one that belongs to a title (``《怎么办？》``). A straight quote closes only what one has opened in its line.
"""

from __future__ import annotations

import re

import numpy as np

from pipeline.characters import Codes, Indices
from pipeline.marks import CLOSERS, CharacterTable, after, find_runs

_STRONG, _WIDE_SEMICOLON, _ASCII, _CLOSES, _QUOTE = range(1, 6)
_TABLE = CharacterTable({_CLOSES: CLOSERS, _QUOTE: '"', _STRONG: "。！？…", _WIDE_SEMICOLON: "；", _ASCII: "!?;"})
_GOES_ON = CharacterTable({1: "，、,：:"})
_ENDS_TITLE = CharacterTable({1: "》〉"})
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_OPENS = re.compile(f"[^\\S\\n]*(?:[{_HAN}“‘「『（【《〈\\n]|\\Z)")


def chinese_cuts(text: str, codes: Codes) -> Indices:
    """Return the places where a sentence ends inside a line of `text`, ascending; `codes` are its code points."""
    runs = find_runs(_TABLE.of(codes))
    if not len(runs.place):
        return np.zeros(0, np.int64)
    run = runs.run_of_mark()
    enders = np.flatnonzero(runs.kind <= _ASCII)
    enders = enders[np.diff(run[enders], prepend=-1) != 0]  # the first of each run
    last = runs.last[run[enders]]
    begin, end = runs.place[enders], runs.place[last] + 1

    ends = (_GOES_ON.of(after(codes, end)) == 0) & (_ENDS_TITLE.of(codes[end - 1]) == 0)
    strong_before = np.concatenate([[0], np.cumsum(runs.kind == _STRONG)])
    weak = ends & (strong_before[last + 1] == strong_before[enders])
    for i in np.flatnonzero(weak).tolist():
        ends[i] = _weak_mark_ends(text, int(begin[i]), int(end[i]))

    quote = runs.place[runs.kind == _QUOTE]
    if len(quote):
        end = _end_before_opening_quote(codes, quote, begin, end)
    cuts: Indices = end[ends]
    return cuts


def _weak_mark_ends(text: str, begin: int, end: int) -> bool:
    """Return whether the run ``text[begin:end]``, whose only enders are ``；!?;``, ends a sentence."""
    if text.find("；", begin, end) >= 0:
        return not (text[begin - 1 : begin].isdigit() and text[end : end + 1].isdigit())
    return _OPENS.match(text, end) is not None


def _end_before_opening_quote(codes: Codes, quote: Indices, begin: Indices, end: Indices) -> Indices:
    """Return `end`, moved before the straight quote in runs where it opens something: an even number stands before it."""
    lines = np.flatnonzero(codes == 0x0A)
    line_begin = np.concatenate([[0], lines + 1])[np.searchsorted(lines, begin)]
    number = np.searchsorted(quote, begin)
    before_in_line = number - np.searchsorted(quote, line_begin)
    first = quote[np.minimum(number, len(quote) - 1)]
    opens = (number < len(quote)) & (first < end) & (before_in_line % 2 == 0)
    return np.where(opens, first, end)
