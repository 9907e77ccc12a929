"""Where byte-level BPE can never join two neighbouring characters, so that text may be cut there and its parts merged alone.

Let a token of the result reach over the border of two characters. The first merge that did so joined a symbol that ended at the
border with one that began there: it is in the list of merges, its left symbol spells the end of what stands before the border,
and its right symbol the beginning of what follows. Where no merge fits so, no token reaches over the border at any time, the
merges on its two sides never meet, and each side comes out as it would alone.

Two steps, since most borders are ruled out by the first: the last byte before and the first byte behind; then the whole of the
two characters, as far as a merge spells them. A merge is never asked for more than those, which errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes

Indices = NDArray[np.int64]
_ANY = 1 << 21  # more than any code point


class ByteBorders:
    """The borders that the merges of a vocabulary, as pairs of bytes, reach over."""

    def __init__(self, merges: Iterable[tuple[bytes, bytes]]) -> None:
        self._joined = np.zeros(1 << 16, np.bool_)  # last byte << 8 | first byte
        rules: set[tuple[int, int, int, int]] = set()
        for left, right in merges:
            if _continues(right[0]) or left[-1] < 0x80 > right[0]:
                continue  # inside a character; or between two of ASCII, of which `cuts` is not asked
            self._joined[left[-1] << 8 | right[0]] = True
            rules.add((*_ending(left), *_beginning(right)))
        self._rules = sorted(rules)

    def cuts(self, data: NDArray[np.uint8], codes: Codes, byte_at: Indices, places: Indices) -> Indices:
        """Return those of `places` where nothing joins a character and the one before it; at least one of the two is not ASCII.

        `data` is the UTF-8 text of `codes`, in which character *i* begins at ``byte_at[i]``.
        """
        at = byte_at[places]
        free = ~self._joined.take(data[at - 1].astype(np.int64) << 8 | data[at])
        near = np.flatnonzero(~free)
        before, after = codes[places[near] - 1].astype(np.int64), codes[places[near]].astype(np.int64)
        joined = np.zeros(len(near), np.bool_)
        for modulus, rest, first, last in self._rules:
            joined |= (after >= first) & (after <= last) & (before % modulus == rest)
        free[near] = ~joined
        cuts: Indices = places[free]
        return cuts


def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _ending(left: bytes) -> tuple[int, int]:
    """Return modulus and rest of the code points of characters that end like `left`."""
    begin = len(left) - 1
    while begin > 0 and _continues(left[begin]) and len(left) - begin < 4:
        begin -= 1
    if _continues(left[begin]):  # the lead byte is not in it: six bits a byte
        low = 0
        for byte in left[begin:]:
            low = low << 6 | byte & 0x3F
        return 1 << 6 * (len(left) - begin), low
    try:
        return _ANY, ord(left[begin:].decode())
    except UnicodeDecodeError:
        return 1, 0  # no end of a character; never met, and fits all


def _beginning(right: bytes) -> tuple[int, int]:
    """Return the first and the last code point of characters that begin like `right`."""
    lead = right[0]
    size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    value = lead if size == 1 else lead & (0x7F >> size)
    for byte in right[1:size]:
        if not _continues(byte):
            return 0, _ANY  # no beginning of a character; never met, and fits all
        value = value << 6 | byte & 0x3F
    open_bits = 6 * (size - min(size, len(right)))
    return value << open_bits, (value + 1 << open_bits) - 1
