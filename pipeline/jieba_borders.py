"""Where jieba, its model of unknown words off, may find a word that reaches over a border between Han, other letters and marks.

Those are words of its dictionary like ``X光``, ``T恤`` and ``C++``: some seventy, of which hardly one occurs in a thousand
sentences. What holds none is cut at such borders in any case: jieba cuts text at every character that its pattern of blocks does
not name, and within a block leaves only ASCII letters and digits together.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes
from pipeline.hmm import jieba_folder

INNER_MARKS = "+#&._%-"  # beside Han and ASCII letters and digits, what jieba's pattern of blocks (`re_han_default`) names
_CODE_POINTS = 0x110000

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


class JiebaBorders:
    """The pairs of neighbours that tell of such words."""

    def __init__(self) -> None:
        self._pairs = _telling_pairs()
        self._before, self._after = np.zeros((2, _CODE_POINTS), np.bool_)
        self._before[self._pairs >> 32] = True
        self._after[self._pairs & 0xFFFFFFFF] = True

    def stretches(self, codes: Codes, parting: Flags, removed: Flags, bounds: Indices) -> list[tuple[int, int]]:
        """Return begin and end of the stretches that must be cut by jieba itself, ascending and apart.

        They lie between characters that are no part of a block of jieba's (`parting`) and the bounds of sentences, and hold such
        a pair, or a character that is taken out of the text before jieba sees it (`removed`).
        """
        after = np.flatnonzero(self._after.take(codes))
        after = after[after > 0]
        after = after[self._before.take(codes[after - 1])]
        pairs = codes[after - 1].astype(np.int64) << 32 | codes[after].astype(np.int64)
        after = after[np.isin(pairs, self._pairs)]
        # Both characters of a pair: a bound may be between them.
        places = np.concatenate([np.flatnonzero(removed), after - 1, after])
        if not len(places):
            return []
        breaks = np.concatenate([[-1], np.flatnonzero(parting), [len(codes)]])
        right, sentence = np.searchsorted(breaks, places), np.searchsorted(bounds, places, side="right")
        begins = np.maximum(breaks[right - 1] + 1, bounds[sentence - 1])
        ends = np.minimum(breaks[right], bounds[sentence])
        return sorted(set(zip(begins.tolist(), ends.tolist(), strict=True)))


@functools.cache
def _telling_pairs() -> Indices:
    """Return neighbours inside words of jieba's dictionary that are not all Han, as first << 32 | second, sorted.

    Of a word with Han in it: all neighbours of which one is Han. Of another: one pair with a mark in it, which is rarer than one
    of letters, or any; text that holds the word holds that pair.
    """
    pairs: set[tuple[str, str]] = set()
    for row in (jieba_folder() / "dict.txt").read_text(encoding="utf-8").splitlines():
        word = row.split(" ", 1)[0]
        if min(word) >= "\u4e00" and max(word) <= "\u9fd5":
            continue
        neighbours = list(itertools.pairwise(word))
        mixed = [pair for pair in neighbours if _is_han(pair[0]) != _is_han(pair[1])]
        marks = [(a, b) for a, b in neighbours if not b.isalnum()]
        pairs.update(mixed or marks[:1] or neighbours[:1])
    return np.array(sorted(ord(a) << 32 | ord(b) for a, b in pairs), np.int64)


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fd5"
