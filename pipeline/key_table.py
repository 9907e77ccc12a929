"""A hash table of 64-bit keys that is searched and filled by whole arrays: open addressing with linear probing.

The multiplier is 2**64 divided by the golden ratio (Knuth, The Art of Computer Programming, vol. 3, §6.4). Key 0 stands for an
empty place and cannot be stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIN_BITS = 10


class KeyTable:
    """Keys numbered in the order they were added."""

    def __init__(self) -> None:
        self._count = 0
        self._allot(_MIN_BITS)

    def __len__(self) -> int:
        return self._count

    def _allot(self, bits: int) -> None:
        self._bits = bits
        self._keys = np.zeros(1 << bits, np.uint64)
        self._numbers = np.full(1 << bits, -1, np.int64)

    def _home(self, keys: U64) -> I64:
        home: I64 = ((keys * _FACTOR) >> np.uint64(64 - self._bits)).astype(np.int64)
        return home

    def find(self, keys: U64) -> I64:
        """Return the number of each key, −1 for those that are not in the table."""
        place = self._home(keys)
        present = self._keys.take(place)
        hit = present == keys
        number: I64 = np.where(hit, self._numbers.take(place), -1)
        waiting = np.flatnonzero(~hit & (present != 0))
        mask = (1 << self._bits) - 1
        while len(waiting):
            probe = (place[waiting] + 1) & mask
            place[waiting] = probe
            present = self._keys.take(probe)
            good = present == keys[waiting]
            number[waiting[good]] = self._numbers[probe[good]]
            waiting = waiting[~good & (present != 0)]
        return number

    def add(self, keys: U64) -> None:
        """Number new keys from ``len(self)`` on; they must differ from each other, from 0 and from all that are there."""
        numbers = np.arange(self._count, self._count + len(keys))
        self._count += len(keys)
        if self._count * 3 > 1 << self._bits:
            old = np.flatnonzero(self._keys)
            keys = np.concatenate([self._keys[old], keys])
            numbers = np.concatenate([self._numbers[old], numbers])
            self._allot(int(self._count * 6 - 1).bit_length())
        place = self._home(keys)
        mask = (1 << self._bits) - 1
        while len(keys):
            free = self._keys[place] == 0
            self._keys[place[free]] = keys[free]
            mine = self._keys[place] == keys
            self._numbers[place[mine]] = numbers[mine]
            keys, numbers, place = keys[~mine], numbers[~mine], (place[~mine] + 1) & mask
