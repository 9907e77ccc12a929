"""Words and Han characters of a text as 64-bit hashes, at the speed of numpy: what filters and decontamination count.

A token is one Han character, or a run of other letters, digits and marks, lower-cased; punctuation, symbols and white space part
tokens and are no part of them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.rolling_hash import Hashes, code_points, mix, prefix_sums, spans

OTHER, MARK, LETTER, LATIN, HAN = range(5)  # punctuation and the like; digits and marks; letters by script
_HAN_RANGES = ((0x3007, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_LATIN_RANGES = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a text of n tokens: hashes uint64 [n]; begin, end int64 [n], offsets in the text; han bool [n]."""

    hashes: Hashes
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    han: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def is_chinese(self) -> bool:
        """Whether most of the tokens are Han characters."""
        return 2 * int(np.count_nonzero(self.han)) > len(self.han)


def tokenize(text: str) -> Tokens:
    """Return the tokens of a text. Offsets count the characters of the lower-cased text, whose length hardly ever differs."""
    codes = code_points(text.lower())
    kind = character_classes(codes)
    han = kind == HAN
    word = (kind != OTHER) & ~han
    inner = word.copy()  # characters that continue a word
    inner[:1] = False
    inner[1:] &= word[:-1]
    begin = np.flatnonzero((han | word) & ~inner)
    last = np.ones(len(codes), np.bool_)
    last[:-1] = ~inner[1:]
    end = np.flatnonzero((han | word) & last) + 1
    return Tokens(hashes=spans(prefix_sums(mix(codes)), begin, end), begin=begin, end=end, han=han[begin])


def character_classes(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the class of each code point; beyond the Basic Multilingual Plane all is HAN from U+20000 on and OTHER below."""
    classes: NDArray[np.uint8] = _table()[np.minimum(codes, 0xFFFF)]
    if len(codes) and int(codes.max()) > 0xFFFF:
        classes[codes > 0xFFFF] = OTHER
        classes[(codes >= 0x20000) & (codes < 0x40000)] = HAN
    return classes


@cache
def _table() -> NDArray[np.uint8]:
    table = np.zeros(1 << 16, np.uint8)
    for code in range(1 << 16):
        category = unicodedata.category(chr(code))
        table[code] = LETTER if category[0] == "L" else MARK if category[0] in "MN" else OTHER
    for ranges, kind in ((_LATIN_RANGES, LATIN), (_HAN_RANGES, HAN)):
        for first, last in ranges:
            table[first : last + 1] = kind
    return table
