"""Sentences longer than `limits.MAX_SENTENCE_CHARACTERS` are parted before anything looks at them as a whole.

What encoders and segmenters hold grows with the longest sentence or run of Han, which a line without punctuation makes as long as
itself. Layouts cut to the length of a sample later anyway. Where the cuts lie depends on the sentence alone.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from pipeline import limits

I64 = NDArray[np.int64]
# Up to the last white space or punctuation mark: ASCII, general, CJK, full-width.
_LAST_BREAK = re.compile(
    r"(?s).*[\s!-/:-@\[-`{-~\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f\uff61-\uff65]"
)
_JOINER = "\u200d"
# What goes on with the character before it, beside marks of category M: joiners, modifiers of emoji, tags, half-width voice
# marks, Thai and Lao AM, vowels and finals of Hangul.
_CONTINUES = re.compile(
    "[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\uff9e\uff9f\u0e33\u0eb3\u1160-\u11ff\ud7b0-\ud7ff]"
)
_LEADS = re.compile("[\u200d\u1100-\u115f\ua960-\ua97f]")
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]*")
_VIRAMA = 9  # canonical combining class


def part_long_sentences(text: str, bounds: I64) -> tuple[str, I64, I64]:
    """Return text, bounds int64[S + 1] of sentences none of which is too long, and of each the given sentence it is of, int64[S].

    A line feed stands where one is parted, so that words and runs of Han end there for every reader. It is the last place in the
    second half of what may be long where white space or a punctuation mark ends; else the end of that, moved to where it parts
    no combining mark, joiner or modifier from its character.
    """
    limit = limits.MAX_SENTENCE_CHARACTERS
    whole = np.arange(len(bounds) - 1)
    cuts: list[int] = []
    for sentence in np.flatnonzero(np.diff(bounds) > limit).tolist():
        begin, end = int(bounds[sentence]), int(bounds[sentence + 1])
        while end - begin > limit:
            begin = _place(text, begin + limit // 2, begin + limit)
            cuts.append(begin)
    if not cuts:
        return text, bounds, whole
    places = np.asarray(cuts, np.int64)
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    every = np.sort(np.concatenate([bounds, places]))
    owner = np.sort(np.concatenate([whole, np.searchsorted(bounds, places) - 1]))
    return "\n".join(parts), every + np.searchsorted(places, every, side="right"), owner


def _place(text: str, least: int, most: int) -> int:
    """Return where to cut, above `least` and at most at `most`."""
    found = _LAST_BREAK.match(text, least, most)
    while found is not None:
        if not parts_character(text, found.end()):
            return found.end()
        found = _LAST_BREAK.match(text, least, found.end() - 1)
    return next((place for place in range(most, least, -1) if not parts_character(text, place)), most)


def parts_character(text: str, place: int) -> bool:
    """Return whether a cut between two characters of `text` parts what a reader takes for one (a grapheme, near enough)."""
    before, after = text[place - 1], text[place]
    if _CONTINUES.match(after) or _LEADS.match(before) or unicodedata.category(after)[0] == "M":
        return True
    if unicodedata.combining(before) == _VIRAMA and after.isalpha():
        return True
    if not _FLAG_LETTERS.fullmatch(before + after):
        return False
    begin = place  # two letters make a flag: an odd number of them before is half of one
    while begin and _FLAG_LETTERS.fullmatch(text[begin - 1]):
        begin -= 1
    return (place - begin) % 2 == 1
