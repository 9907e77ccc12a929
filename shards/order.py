"""The order of samples: a keyed permutation of [0, N) for each (seed, epoch), in O(1) memory and O(1) seek.

A balanced-as-possible Feistel network permutes [0, 2^b), the smallest power of two that holds N; values that land outside
[0, N) walk along their cycle until they are inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), which
is a permutation of [0, N) again and takes fewer than two rounds on average. Positions of an endless training run are laid
epoch after epoch: position p is sample ``permutation(seed, p // N)[p % N]``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shards.counter import Purpose, fold, fold_each
from shards.errors import UsageError

I64 = npt.NDArray[np.int64]
_ROUNDS = 8


class Permutation:
    """A keyed permutation of [0, size)."""

    def __init__(self, size: int, key: int) -> None:
        if size < 1:
            raise UsageError(f"a permutation needs at least one element, got {size}")
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._low_bits = np.uint64(bits // 2)
        self._high_bits = np.uint64(bits - bits // 2)
        self._round_keys = [fold(key, r) for r in range(_ROUNDS)]

    def at(self, positions: I64) -> I64:
        """Return the image of each position; positions are in [0, size)."""
        values = self._feistel(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= np.uint64(self.size))
        while len(outside):
            walked = self._feistel(values[outside])
            values[outside] = walked
            outside = outside[walked >= np.uint64(self.size)]
        return values.astype(np.int64)

    def _feistel(self, x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left_bits, right_bits = self._high_bits, self._low_bits
        left, right = x >> right_bits, x & _ones(right_bits)
        for key in self._round_keys:
            # The halves change places every round; with an odd number of bits so do their widths.
            left, right = right, left ^ (fold_each(key, right) & _ones(left_bits))
            left_bits, right_bits = right_bits, left_bits
        return (left << right_bits) | right


def _ones(bits: np.uint64) -> np.uint64:
    return np.uint64((1 << int(bits)) - 1)


class SampleOrder:
    """The endless sequence of epochs over `rows` samples, each epoch a permutation of its own."""

    def __init__(self, rows: int, seed: int) -> None:
        if rows < 1:
            raise UsageError(f"cannot order {rows} samples: the data set is empty")
        self.rows, self.seed = rows, seed
        self._cached: dict[int, Permutation] = {}

    def at(self, positions: I64) -> tuple[I64, I64]:
        """Return (epochs, sample indices) of global positions, each int64 of the length of `positions`."""
        epochs, within = np.divmod(positions, self.rows)
        indices = np.empty_like(within)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = self._permutation(epoch).at(within[here])
        return epochs, indices

    def _permutation(self, epoch: int) -> Permutation:
        if epoch not in self._cached:
            # A step touches one epoch, or two or more at a border; older ones never come back in a forward run.
            self._cached = {e: p for e, p in self._cached.items() if e >= epoch - 1}
            self._cached[epoch] = Permutation(self.rows, fold(self.seed, Purpose.ORDER, epoch))
        return self._cached[epoch]
