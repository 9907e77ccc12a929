"""Sentences longer than `limits.MAX_SENTENCE_CHARACTERS` are parted before anything looks at them as a whole.

What encoders and segmenters hold grows with the longest sentence or run of Han, which a line without punctuation makes as long as
itself. Layouts cut to the length of a sample later anyway. Where the cuts lie depends on the sentence alone.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from pipeline import limits
from pipeline.characters import Codes
from pipeline.graphemes import continuing

I64 = NDArray[np.int64]
# Up to the last white space or punctuation mark: ASCII, general, CJK, full-width.
_LAST_BREAK = re.compile(
    r"(?s).*[\s!-/:-@\[-`{-~\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f\uff61-\uff65]"
)


def part_long_sentences(text: str, bounds: I64) -> tuple[str, I64, I64]:
    """Return text, bounds int64[S + 1] of sentences none of which is too long, and of each the given sentence it is of, int64[S].

    A line feed stands where one is parted, so that words and runs of Han end there for every reader. It is the last place in the
    second half of what may be long where white space or a punctuation mark ends; else the end of that. No cut parts a grapheme
    that is shorter than that half (`pipeline.graphemes`).
    """
    limit = limits.MAX_SENTENCE_CHARACTERS
    whole = np.arange(len(bounds) - 1)
    cuts: list[int] = []
    for sentence in np.flatnonzero(np.diff(bounds) > limit).tolist():
        begin, end = int(bounds[sentence]), int(bounds[sentence + 1])
        while end - begin > limit:
            begin = _place(text, begin, limit)
            cuts.append(begin)
    if not cuts:
        return text, bounds, whole
    places = np.asarray(cuts, np.int64)
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    every = np.sort(np.concatenate([bounds, places]))
    owner = np.sort(np.concatenate([whole, np.searchsorted(bounds, places) - 1]))
    return "\n".join(parts), every + np.searchsorted(places, every, side="right"), owner


def _place(text: str, begin: int, limit: int) -> int:
    """Return where to cut, above ``begin + limit // 2`` and at most at ``begin + limit``."""
    least, most = begin + limit // 2, begin + limit
    inside = set((continuing(_codes(text[begin : most + 1]), np.zeros(1, np.int64)) + begin).tolist())
    found = _LAST_BREAK.match(text, least, most)
    while found is not None:
        if found.end() not in inside:
            return found.end()
        found = _LAST_BREAK.match(text, least, found.end() - 1)
    return next((place for place in range(most, least, -1) if place not in inside), most)


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
