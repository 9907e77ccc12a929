"""Several samples in one row: which lengths go together, planned once; which samples, drawn anew each epoch.

The plan is made from how many samples there are of each length, longest first, each into the fullest row that still has room for
it (best fit decreasing, over the histogram of lengths as in Krell et al. 2021, arXiv:2107.02027, "Efficient Sequence Packing
without Cross-contamination"): its cost does not grow with the number of samples. It fixes the shapes of rows: R rows, each a list
of lengths. In every epoch each slot of length l takes another of the samples of length l, by a keyed permutation of these. So R
is the same in all epochs, any row of any epoch is known without those before it, and every sample is in one row of an epoch.

Legend: N samples, R rows, C shapes, K slots of all shapes, S samples of the rows asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.canonical import fingerprint
from shards.counter import Purpose, fold, fold_each
from shards.durable import commit_stream
from shards.errors import UsageError
from shards.order import permute_each

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Shape c stands for the rows begin[c] ≤ r < begin[c + 1]; its slots are offsets[c] ≤ k < offsets[c + 1].

    Slot k of the shape's i-th row holds the (first[k] + i)-th sample of length[k] tokens.
    """

    begin: I64  # [C + 1]
    offsets: I64  # [C + 1]
    length: I64  # [K]
    first: I64  # [K]


def plan_shapes(counts: dict[int, int], capacity: int) -> Shapes:
    """Plan the rows of `counts` (length in tokens → samples); a row holds at most `capacity` tokens.

    Raises UsageError for a sample that is longer.
    """
    if max(counts) > capacity:
        raise UsageError("a sample is longer than a row", expected=f"at most {capacity} tokens", got=max(counts))
    room: dict[int, list[tuple[int, tuple[int, ...]]]] = {}  # tokens free → (rows, lengths in them)
    for length in sorted(counts, reverse=True):
        left = counts[length]
        while left:
            free = min((r for r in room if r >= length), default=None)
            if free is None:
                # Rows of their own; as many of this length in each as fit.
                each = min(capacity // length, left)
                rows, shape = left // each, (length,) * each
                room.setdefault(capacity - length * each, []).append((rows, shape))
                left -= rows * each
                continue
            rows, shape = room[free].pop()
            if not room[free]:
                del room[free]
            used = min(rows, left)
            if rows > used:
                room.setdefault(free, []).append((rows - used, shape))
            room.setdefault(free - length, []).append((used, (*shape, length)))
            left -= used
    shapes = [entry for free in sorted(room) for entry in room[free]]
    taken = dict.fromkeys(counts, 0)
    first = []
    for rows, shape in shapes:
        for length in shape:
            first.append(taken[length])
            taken[length] += rows
    return Shapes(
        begin=_starts([rows for rows, _ in shapes]),
        offsets=_starts([len(shape) for _, shape in shapes]),
        length=np.array([length for _, shape in shapes for length in shape], np.int64),
        first=np.array(first, np.int64),
    )


def _starts(counts: list[int]) -> I64:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


class Packing:
    """Rows of the samples 0 … N − 1, of which `by_length` has the numbers ordered by length, then number."""

    def __init__(self, by_length: npt.NDArray[np.uint32], counts: dict[int, int], capacity: int) -> None:
        self.by_length, self.counts, self.capacity = by_length, counts, capacity
        self._shapes = shapes = plan_shapes(counts, capacity)
        self.rows = int(shapes.begin[-1])
        lengths = np.array(sorted(counts), np.int64)
        begins = _starts([counts[int(length)] for length in lengths])
        place = np.searchsorted(lengths, shapes.length)
        self._class_begin, self._class_size = begins[place], np.diff(begins)[place]
        self._tokens = np.add.reduceat(shapes.length, shapes.offsets[:-1])

    @classmethod
    def plan(cls, lengths: I64, capacity: int) -> Packing:
        """Plan the rows of N samples; lengths int64[N] count special tokens."""
        found, counts = np.unique(lengths, return_counts=True)
        by_length = np.argsort(lengths, kind="stable").astype(np.uint32)
        return cls(by_length, dict(zip(found.tolist(), counts.tolist(), strict=True)), capacity)

    @property
    def filled(self) -> float:
        """The share of the rows' cells that hold tokens."""
        return sum(length * count for length, count in self.counts.items()) / (self.rows * self.capacity)

    def tokens(self, rows: I64) -> I64:
        """Return the tokens of each row, int64[len(rows)]."""
        tokens: I64 = self._tokens[np.searchsorted(self._shapes.begin, rows, side="right") - 1]
        return tokens

    def expand(self, epochs: I64, rows: I64, seed: int) -> tuple[I64, I64]:
        """Return (numbers of the samples in the rows as they are in `epochs`, int64[S]; offsets int64[len(rows) + 1])."""
        shapes = self._shapes
        shape = np.searchsorted(shapes.begin, rows, side="right") - 1
        count = np.diff(shapes.offsets)[shape]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(count, out=offsets[1:])
        slot = np.repeat(shapes.offsets[shape] - offsets[:-1], count) + np.arange(int(offsets[-1]), dtype=np.int64)
        occurrence = shapes.first[slot] + np.repeat(rows - shapes.begin[shape], count)
        keys = fold_each(fold(seed, Purpose.PACK), np.repeat(epochs, count).astype(np.uint64))
        keys = fold_each(keys, shapes.length[slot].astype(np.uint64))
        drawn = permute_each(occurrence, self._class_size[slot], keys)
        return self.by_length[self._class_begin[slot] + drawn].astype(np.int64), offsets

    @property
    def hash(self) -> str:
        """The hash of the plan, 64 hexadecimal digits: equal for equal rows in all epochs."""
        counts = {str(length): count for length, count in self.counts.items()}
        order = hashlib.sha256(np.ascontiguousarray(self.by_length).data).hexdigest()
        return fingerprint({"capacity": self.capacity, "counts": counts, "by_length": order})

    def save(self, path: Path) -> None:
        """Commit the order by length as a .npy file."""
        with commit_stream(path) as file:
            np.lib.format.write_array(file, self.by_length, allow_pickle=False)  # type: ignore[no-untyped-call]
