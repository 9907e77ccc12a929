"""Bins of similar length: which lengths go together, planned from how many samples of each there are.

Samples of a batch are padded to the longest of them. Within windows of 16 steps samples are sorted by bin, so that a batch holds
similar lengths on all ranks; `plan_edges` places the borders where the least padding results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from shards.errors import UsageError
from shards.manifest import Manifest

I64 = npt.NDArray[np.int64]


def added_histograms(manifests: Iterable[Manifest]) -> dict[int, int]:
    """Return upper bound in tokens → samples, over all manifests. Raises UsageError for one without a histogram."""
    total: dict[int, int] = {}
    for manifest in manifests:
        if not manifest.length_histogram:
            raise UsageError(
                "a data set's manifest has no histogram of lengths, so bins cannot be planned", hint="Leave out --bins"
            )
        for bound, count in manifest.length_histogram.items():
            total[int(bound)] = total.get(int(bound), 0) + count
    return total


def plan_edges(histogram: Mapping[int, int], bins: int) -> tuple[int, ...]:
    """Return at most `bins` upper bounds, ascending, the last one that of the histogram.

    They minimise Σ samples · (bound of the bin − bound of the sample), by dynamic programming over the histogram's bounds.
    """
    bounds = np.array(sorted(bound for bound, count in histogram.items() if count > 0), np.int64)
    counts = np.array([histogram[int(bound)] for bound in bounds], np.int64)
    bins = min(bins, len(bounds))
    count_before, tokens_before = (np.concatenate([[0], np.cumsum(values)]) for values in (counts, counts * bounds))
    size = len(bounds)
    # cost[i] of the best division of the first i bounds; from[k][i] is where its k-th bin begins.
    cost = np.concatenate([[0], np.full(size, np.iinfo(np.int64).max // 4)])
    begins: list[I64] = []
    for _ in range(bins):
        new, begin = cost.copy(), np.zeros(size + 1, np.int64)
        for end in range(1, size + 1):
            padding = bounds[end - 1] * (count_before[end] - count_before[:end]) - (tokens_before[end] - tokens_before[:end])
            begin[end] = int(np.argmin(cost[:end] + padding))
            new[end] = cost[begin[end]] + padding[begin[end]]
        cost = new
        begins.append(begin)
    edges, end = [], size
    for begin in reversed(begins):
        if end == 0:
            break
        edges.append(int(bounds[end - 1]))
        end = int(begin[end])
    return tuple(reversed(edges))
