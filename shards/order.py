"""The order of samples: a keyed permutation of [0, N) for each (seed, epoch), in O(1) memory and O(1) seek.

A balanced-as-possible Feistel network permutes [0, 2^b), the smallest power of two that holds N; values that land outside
[0, N) walk along their cycle until they are inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), which
is a permutation of [0, N) again and takes fewer than two rounds on average. Positions of an endless training run are laid
epoch after epoch: position p is sample ``permutation(seed, p // N)[p % N]``.

Data that is larger than memory and lies on a slow disk is read in blocks of consecutive samples instead (`BlockPermutation`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shards.counter import Purpose, fold, fold_each
from shards.errors import UsageError

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_ROUNDS = 8
WINDOW_BLOCKS = 64


class Permutation:
    """A keyed permutation of [0, size)."""

    def __init__(self, size: int, key: int) -> None:
        if size < 1:
            raise UsageError(f"a permutation needs at least one element, got {size}")
        self.size = size
        self._bits = bits = max(2, (size - 1).bit_length())
        self._low_bits = np.uint64(bits // 2)
        self._high_bits = np.uint64(bits - bits // 2)
        self._round_keys = [fold(key, r) for r in range(_ROUNDS)]

    def at(self, positions: I64) -> I64:
        """Return the image of each position; positions are in [0, size)."""
        values = self._feistel(positions.view(np.uint64))
        outside = np.flatnonzero(values >= np.uint64(self.size)) if self.size < 1 << self._bits else ()
        while len(outside):
            walked = self._feistel(values[outside])
            values[outside] = walked
            outside = outside[walked >= np.uint64(self.size)]
        return values.view(np.int64)

    def _feistel(self, x: U64) -> U64:
        left_bits, right_bits = self._high_bits, self._low_bits
        narrow = np.min_scalar_type((1 << int(left_bits)) - 1)
        # Where there are more halves than different ones, each of these is folded once, and looked up in narrow integers.
        by_table = len(x) >> int(left_bits) > 1 and narrow.itemsize <= 2
        left, right = x >> right_bits, x & _ones(right_bits)
        if by_table:
            left, right = left.astype(narrow), right.astype(narrow)
        for key in self._round_keys:
            # The halves change places every round; with an odd number of bits so do their widths.
            halves = np.arange(1 << int(right_bits), dtype=np.uint64) if by_table else right
            mixed = fold_each(key, halves) & _ones(left_bits)
            left, right = right, left ^ (mixed.astype(narrow)[right] if by_table else mixed)
            left_bits, right_bits = right_bits, left_bits
        values: U64 = left.astype(np.uint64)
        values <<= right_bits
        values |= right
        return values


def _ones(bits: np.uint64) -> np.uint64:
    return np.uint64((1 << int(bits)) - 1)


def permute_each(positions: I64, sizes: I64, keys: U64) -> I64:
    """Return the image of each position in a permutation of its own: of [0, sizes[i]), keyed by keys[i]."""
    bits = np.maximum(2, np.frexp((sizes - 1).astype(np.float64))[1]).astype(np.uint64)
    low = bits >> np.uint64(1)
    values = positions.astype(np.uint64)
    todo = np.arange(len(values))
    round_keys = [fold_each(fold_each(0, keys), r) for r in range(_ROUNDS)]
    while len(todo):
        values[todo] = _feistel(values[todo], (bits - low)[todo], low[todo], [k[todo] for k in round_keys])
        todo = todo[values[todo] >= sizes[todo].astype(np.uint64)]
    return values.astype(np.int64)


def _feistel(x: U64, left_bits: U64, right_bits: U64, round_keys: list[U64]) -> U64:
    one = np.uint64(1)
    left, right = x >> right_bits, x & ((one << right_bits) - one)
    for key in round_keys:
        left, right = right, left ^ (fold_each(key, right) & ((one << left_bits) - one))
        left_bits, right_bits = right_bits, left_bits
    return (left << right_bits) | right


class BlockPermutation:
    """A keyed permutation of [0, size) that reads blocks of `block` neighbours.

    Blocks come in random order; elements are shuffled within windows of 64 blocks, so that no more than those need to be in
    memory at a time. Where blocks begin is drawn for each key: neighbours of one epoch are parted in another. The elements left
    over by whole blocks come last.
    """

    def __init__(self, size: int, block: int, key: int) -> None:
        self._size, self._block, self._window_key = size, block, fold(key, 2)
        self._offset, self._whole = fold(key, 0) % size, size // block
        self._order = Permutation(self._whole, fold(key, 1)) if self._whole else None

    def at(self, positions: I64) -> I64:
        """Return the image of each position; positions are in [0, size)."""
        span = self._block * WINDOW_BLOCKS
        begin = positions // span * span
        keys = fold_each(self._window_key, (begin // span).astype(np.uint64))
        within = permute_each(positions - begin, np.minimum(span, self._size - begin), keys)
        block, inside = np.divmod(begin + within, self._block)
        if self._order is not None:
            whole = block < self._whole
            block[whole] = self._order.at(block[whole])
        found: I64 = (block * self._block + inside + self._offset) % self._size
        return found


class SampleOrder:
    """The endless sequence of epochs over `rows` samples, each epoch a permutation of its own; `block`: read in blocks."""

    def __init__(self, rows: int, seed: int, *, block: int | None = None) -> None:
        if rows < 1:
            raise UsageError(f"cannot order {rows} samples: the data set is empty")
        if block is not None and block < 1:
            raise UsageError(f"blocks must hold at least one sample, got {block}")
        self.rows, self.seed, self._block = rows, seed, block
        self._cached: dict[int, Permutation | BlockPermutation] = {}

    def at(self, positions: I64) -> tuple[I64, I64]:
        """Return (epochs, sample indices) of global positions, each int64 of the length of `positions`."""
        epochs, within = np.divmod(positions, self.rows)
        indices = np.empty_like(within)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = self._permutation(epoch).at(within[here])
        return epochs, indices

    def _permutation(self, epoch: int) -> Permutation | BlockPermutation:
        if epoch not in self._cached:
            # A step touches one epoch, or two or more at a border; older ones never come back in a forward run.
            self._cached = {e: p for e, p in self._cached.items() if e >= epoch - 1}
            key = fold(self.seed, Purpose.ORDER, epoch)
            block = self._block
            self._cached[epoch] = Permutation(self.rows, key) if block is None else BlockPermutation(self.rows, block, key)
        return self._cached[epoch]
