"""Slots of short strings, each given once, found again by their bytes seen as numbers.

Up to eight bytes are one number and up to sixteen are two (`pipeline.key_table`), cut out of the text without copying a string.
That is nearly every word of a text; what is longer is left to the caller.

Legend: W strings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.key_table import KeyTable, distinct_keys

Indices = NDArray[np.int64]
U64 = NDArray[np.uint64]

ROOM = 16  # zero bytes that have to follow the text
_NUMBER = 8
_HIGH_BITS = np.uint64(0x8080808080808080)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(_NUMBER + 1)], np.uint64)
# The most frequent strings are among the first few; once learnt, they are no longer among what is to be sorted.
_FIRST_NEW = 1 << 14


class SlotTable:
    """learn: takes different new strings, returns their slots; ascii_only: leave strings with other characters to the caller."""

    def __init__(self, learn: Callable[[list[str]], Indices], *, ascii_only: bool) -> None:
        self._learn, self._ascii_only = learn, ascii_only
        self._short, self._middle = KeyTable(1), KeyTable(2)

    def look_up(self, data: NDArray[np.uint8], begins: Indices, sizes: Indices) -> tuple[Indices, Indices]:
        """Return the slots of the strings ``data[begins[i] : begins[i] + sizes[i]]``, int64[W], and which are left out.

        `data` is UTF-8 followed by `ROOM` zero bytes. What is left out is too long, not ASCII, or ends in NUL (its length could
        not be told from its number), and has no slot yet.
        """
        # Every eight bytes, whatever they begin at, seen as a number: no copy, and one gather instead of eight.
        numbers: U64 = np.ndarray(len(data) - _NUMBER + 1, "<u8", data, strides=(1,))
        low = numbers[begins]
        low &= _MASKS.take(sizes, mode="clip")
        slots = np.empty(len(begins), np.int64)
        refused = self._refused(data, low, begins, sizes)
        is_short = sizes <= _NUMBER
        if is_short.all() and not len(refused):
            return self._slots(self._short, low), refused
        is_middle = ~is_short
        is_short[refused] = is_middle[refused] = False
        short, middle = np.flatnonzero(is_short), np.flatnonzero(is_middle)
        slots[short] = self._slots(self._short, low[short])
        if len(middle):
            high = numbers[begins[middle] + _NUMBER]
            high &= _MASKS.take(sizes[middle] - _NUMBER, mode="clip")
            if self._ascii_only and (other := (high & _HIGH_BITS) != 0).any():
                refused = np.concatenate([refused, middle[other]])
                middle, high = middle[~other], high[~other]
            slots[middle] = self._slots(self._middle, low[middle], high)
        return slots, refused

    def _refused(self, data: NDArray[np.uint8], low: U64, begins: Indices, sizes: Indices) -> Indices:
        bad = sizes > 2 * _NUMBER
        if self._ascii_only:
            bad |= (low & _HIGH_BITS) != 0
        if not data[:-ROOM].all():
            bad |= data.take(begins + sizes - 1) == 0
        return np.flatnonzero(bad)

    def _slots(self, table: KeyTable, *keys: U64) -> Indices:
        slots = table.find(*keys)
        missing = np.flatnonzero(slots < 0)
        some = _FIRST_NEW
        while len(missing):
            now = missing[:some]
            new = distinct_keys(*(key[now] for key in keys))
            strings = np.stack(new, axis=1).view(f"S{8 * len(keys)}").ravel()
            # Learnt before it is in the table: an error in between leaves the table as it was.
            table.add(self._learn([string.decode() for string in strings.tolist()]), *new)
            found = table.find(*(key[missing] for key in keys))
            slots[missing] = found
            missing = missing[found < 0]
            some *= 4
        return slots
