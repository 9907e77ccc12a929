"""Which samples are equal, over data sets of any size: hashes of their token ids, kept within a fixed memory.

A sample's hash is 64 bits over its ids, its split and nothing else (not its source). Up to `limit` hashes are kept. When more
come, all but those in the lower half of the range of values are let go, then all but the lowest quarter, and so on: adaptive
sampling (Wegman; analysed by Flajolet, "On adaptive sampling", Computing 43, 1990). Since it is by value, all copies of a
sample stay or go together, in every data set alike: shares of copies, and of what two sets have in common, are estimated
without bias, and are exact as long as nothing was let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.columns import Columns
from shards.counter import fold, fold_each, mix64
from shards.manifest import ShardEntry
from shards.reader import DataSet
from shards.shard_file import ShardFile

U64 = npt.NDArray[np.uint64]
DEFAULT_LIMIT = 1 << 22  # 32 MiB of hashes
_READ_ROWS = 1024  # a record batch
_KEY = fold(0x73616D706C65)


def sample_hashes(columns: Columns) -> U64:
    """Return a hash of each sample, uint64[N]. No sample is empty."""
    begins = columns.offsets[:-1]
    lengths = np.diff(columns.offsets)
    position = np.arange(int(columns.offsets[-1]), dtype=np.int64) - np.repeat(begins, lengths)
    cells = mix64((columns.ids.astype(np.uint64) << np.uint64(32)) + position.astype(np.uint64) + np.uint64(_KEY))
    sums = np.add.reduceat(cells, begins) if len(begins) else np.zeros(0, np.uint64)
    return fold_each(fold_each(sums, lengths.astype(np.uint64)), columns.split.astype(np.uint64))


@dataclass(frozen=True, kw_only=True)
class Copies:
    """How many samples there are, and how many distinct ones. `share_kept`: 1 if counted, else the share of values looked at."""

    rows: int
    distinct: int
    share_kept: float

    @property
    def duplicate_share(self) -> float:
        """Share of the samples that an earlier one equals."""
        return 1.0 - self.distinct / self.rows if self.rows else 0.0


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Samples of two sets, copies counted: in both, only in A, only in B; `share_kept` as in `Copies`."""

    common: int
    only_a: int
    only_b: int
    share_kept: float


class HashSample:
    """The hashes of many samples, at most `limit` of them; see the module docstring."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self._limit, self._halvings = limit, 0
        self._kept: list[U64] = []
        self._count = 0
        self.rows = 0

    @property
    def share_kept(self) -> float:
        return 2.0**-self._halvings

    def add(self, hashes: U64) -> None:
        """Count samples by their hashes."""
        self.rows += len(hashes)
        self._keep(hashes)
        while self._count > self._limit and self._halvings < 63:
            self.halve()

    def halve(self) -> None:
        """Let go the upper half of the values that are still kept."""
        self._halvings += 1
        parts, self._kept, self._count = self._kept, [], 0
        self._keep(np.concatenate(parts) if parts else np.zeros(0, np.uint64))

    def _keep(self, hashes: U64) -> None:
        kept = hashes[(hashes >> np.uint64(64 - self._halvings)) == 0] if self._halvings else hashes
        self._kept.append(kept)
        self._count += len(kept)

    def counted(self) -> tuple[U64, npt.NDArray[np.int64]]:
        """Return the distinct hashes that are kept, ascending, and how often each came."""
        values, counts = np.unique(np.concatenate(self._kept) if self._kept else np.zeros(0, np.uint64), return_counts=True)
        return values, counts.astype(np.int64)

    def copies(self) -> Copies:
        """Return how many of the samples are distinct, over all `rows`."""
        values, _ = self.counted()
        distinct = round(self.rows * len(values) / self._count) if self._count else 0
        return Copies(rows=self.rows, distinct=distinct, share_kept=self.share_kept)


def overlap(a: HashSample, b: HashSample, *, equal_rows: int = 0) -> Overlap:
    """Return what two sets of samples have in common; `equal_rows` further ones are known to be in both (and not in a or b)."""
    while a.share_kept > b.share_kept:
        a.halve()
    while b.share_kept > a.share_kept:
        b.halve()
    (values_a, counts_a), (values_b, counts_b) = a.counted(), b.counted()
    _, at_a, at_b = np.intersect1d(values_a, values_b, assume_unique=True, return_indices=True)
    seen = int(np.minimum(counts_a[at_a], counts_b[at_b]).sum())
    common = min(round(seen / a.share_kept), a.rows, b.rows)
    return Overlap(
        common=common + equal_rows, only_a=a.rows - common, only_b=b.rows - common, share_kept=min(a.share_kept, b.share_kept)
    )


def read_columns(
    data_set: DataSet, *, verify: bool, wanted: Callable[[ShardEntry], bool], done: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[ShardEntry, Columns]]:
    """Yield the samples of the shards that are `wanted`, a record batch at a time; `done` hears of bytes read.

    Each shard is closed before the next is opened. Raises NotFoundError, FormatError and IntegrityError.
    """
    for entry in data_set.manifest.shards:
        if not wanted(entry):
            continue
        shard = ShardFile(data_set.path / entry.file, entry, verify=verify)
        for begin in range(0, entry.rows, _READ_ROWS):
            yield entry, shard.take(np.arange(begin, min(begin + _READ_ROWS, entry.rows), dtype=np.int64))
        done(entry.bytes)
