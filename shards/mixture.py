"""Several data sets in given shares: which set each position of the endless order takes its sample from.

A table of 65,536 slots is divided by the weights (largest remainder) and repeats for ever, in another keyed order each time. The
sample's position within its own set is the number of earlier positions that took from the set: a prefix count, known without
walking there, so that seeking costs the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from shards.counter import Purpose, fold
from shards.errors import UsageError
from shards.order import Permutation

I64 = npt.NDArray[np.int64]
SLOTS = 1 << 16
_MAX_WEIGHTS = 256
_KEPT_CYCLES = 4


def slot_counts(weights: Sequence[float]) -> list[int]:
    """Return how many of the 65,536 slots each weight gets: by largest remainder, the earlier of equal ones first."""
    total = math.fsum(weights)
    shares = [SLOTS * weight / total for weight in weights]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: SLOTS - sum(counts)]:
        counts[i] += 1
    return counts


class Mixture:
    """See the module docstring. Raises UsageError for a weight too small to get a slot."""

    def __init__(self, weights: Mapping[str, float], seed: int) -> None:
        if len(weights) > _MAX_WEIGHTS:
            raise UsageError(f"at most {_MAX_WEIGHTS} data sets are mixed, got {len(weights)}")
        self._counts = np.array(slot_counts(list(weights.values())), np.int64)
        for name, count in zip(weights, self._counts.tolist(), strict=True):
            if not count:
                raise UsageError(f"the weight of {name!r} is below 1/{SLOTS} of all", got=weights[name])
        self._seed = seed
        self._table = np.repeat(np.arange(len(weights), dtype=np.uint8), self._counts)
        self._cycles: dict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]] = {}

    def at(self, positions: I64) -> tuple[I64, I64]:
        """Return (set, position within the set) of each position."""
        cycles, slots = np.divmod(positions, SLOTS)
        which, own = np.empty_like(positions), np.empty_like(positions)
        for cycle in np.unique(cycles).tolist():
            here = cycles == cycle
            sets, before = self._cycle(cycle)
            which[here] = sets[slots[here]]
            own[here] = cycle * self._counts[which[here]] + before[slots[here]]
        return which, own

    def own_positions(self, position: int) -> I64:
        """Return for each set how many of the positions before `position` took from it."""
        cycle, slot = divmod(position, SLOTS)
        own = cycle * self._counts
        if slot:
            own = own + np.bincount(self._cycle(cycle)[0][:slot], minlength=len(self._counts))
        return own

    def _cycle(self, cycle: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Return each slot's set, and how many earlier slots of the cycle have the same."""
        if cycle not in self._cycles:
            sets = self._table[Permutation(SLOTS, fold(self._seed, Purpose.MIX, cycle)).at(np.arange(SLOTS, dtype=np.int64))]
            before = np.empty(SLOTS, np.int32)
            before[np.argsort(sets, kind="stable")] = np.concatenate([np.arange(count, dtype=np.int32) for count in self._counts])
            if len(self._cycles) >= _KEPT_CYCLES:
                del self._cycles[next(iter(self._cycles))]
            self._cycles[cycle] = sets, before
        return self._cycles[cycle]
