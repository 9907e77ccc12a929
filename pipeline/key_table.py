"""A hash table from 64-bit keys, or pairs of them, to numbers, searched and filled by whole arrays.

Open addressing with linear probing. The multipliers are 2**64 divided by the golden ratio (Knuth, The Art of Computer
Programming, vol. 3, §6.4), and by its square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0x61C8864680B583EB))
_MIN_BITS = 10


def mix(keys: tuple[U64, ...]) -> U64:
    """Return one number for each key, whose upper bits depend on all of it."""
    mixed = keys[0] * _FACTORS[0]
    for key, factor in zip(keys[1:], _FACTORS[1:], strict=False):
        mixed ^= mixed >> np.uint64(32)
        mixed += key
        mixed *= factor
    return mixed


class KeyTable:
    """Keys of `columns` (1 or 2) numbers each, as that many arrays; the first of them is never 0: that is an empty place."""

    def __init__(self, columns: int = 1) -> None:
        self._columns, self._count = columns, 0
        self._allot(_MIN_BITS)

    def __len__(self) -> int:
        return self._count

    def _allot(self, bits: int) -> None:
        self._bits = bits
        self._keys = tuple(np.zeros(1 << bits, np.uint64) for _ in range(self._columns))
        self._values = np.full(1 << bits, -1, np.int64)

    def _home(self, keys: tuple[U64, ...]) -> I64:
        mixed = mix(keys)
        mixed >>= np.uint64(64 - self._bits)
        return mixed.astype(np.int64)

    def find(self, *keys: U64) -> I64:
        """Return the value of each key, −1 for those that are not in the table."""
        place = self._home(keys)
        hit, occupied = self._compare(place, keys)
        found: I64 = np.where(hit, self._values.take(place), -1)
        waiting = np.flatnonzero(~hit & occupied)
        mask = (1 << self._bits) - 1
        while len(waiting):
            probe = (place[waiting] + 1) & mask
            place[waiting] = probe
            hit, occupied = self._compare(probe, tuple(key[waiting] for key in keys))
            found[waiting[hit]] = self._values[probe[hit]]
            waiting = waiting[~hit & occupied]
        return found

    def _compare(self, place: I64, keys: tuple[U64, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether each key stands at its place, and whether any does."""
        first = self._keys[0].take(place)
        hit = first == keys[0]
        for column, key in zip(self._keys[1:], keys[1:], strict=True):
            hit &= column.take(place) == key
        return hit, first != 0

    def add(self, values: I64, *keys: U64) -> None:
        """Store new keys; they must differ from each other and from all that are there. Values are not negative."""
        self._count += len(values)
        if self._count * 3 > 1 << self._bits:
            old = np.flatnonzero(self._keys[0])
            keys = tuple(np.concatenate([column[old], key]) for column, key in zip(self._keys, keys, strict=True))
            values = np.concatenate([self._values[old], values])
            self._allot(int(self._count * 6 - 1).bit_length())
        place = self._home(keys)
        mask = (1 << self._bits) - 1
        while len(values):
            free = np.flatnonzero(self._keys[0][place] == 0)
            # Of several that want one place the last gets it, in every column: numpy assigns in order.
            for column, key in zip(self._keys, keys, strict=True):
                column[place[free]] = key[free]
            mine, _ = self._compare(place, keys)
            self._values[place[mine]] = values[mine]
            values, keys, place = values[~mine], tuple(key[~mine] for key in keys), (place[~mine] + 1) & mask


def distinct_keys(*keys: U64) -> tuple[U64, ...]:
    """Return each of some keys once, in any order, but always the same."""
    if len(keys) == 1:
        return (np.unique(keys[0]),)
    # Numbers sort several times faster than pairs or strings of bytes.
    mixed = mix(keys)
    order = np.argsort(mixed)
    ordered = tuple(key[order] for key in keys)
    differs = np.zeros(len(order) - 1, np.bool_)
    for key in ordered:
        differs |= key[1:] != key[:-1]
    mixed = mixed[order]
    if (differs & (mixed[1:] == mixed[:-1])).any():  # different keys that mix to one number may stand in any order
        rows = np.unique(np.stack(keys, axis=1), axis=0)
        return tuple(np.ascontiguousarray(column) for column in rows.T)
    first = np.concatenate([[True], differs])
    return tuple(key[first] for key in ordered)
