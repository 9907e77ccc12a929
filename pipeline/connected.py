"""Connected components of a graph that need not fit in memory.

Alternates the large-star and small-star steps of Kiveris et al. 2014 (Connected Components in MapReduce and Beyond) until
nothing changes; each is one pass over sorted edges, and every component ends as a star around its lowest node. On clusters of
near duplicates two or three rounds are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.external_sort import ExternalSort, Records
from pipeline.rolling_hash import mix


def lowest_of_components(edges: Iterable[Records], folder: Path, max_bytes: int) -> Iterator[Records]:
    """Yield (node, lowest node of its component), ascending, for each node that is not the lowest; edges are uint64 [n, 2]."""
    current = ExternalSort(folder, "edges-000", 2, max_bytes // 2)
    for part in edges:
        current.add(_descending(part))
    before: tuple[int, int] | None = None
    for number in range(1, 1000):  # rounds grow with the logarithm of the largest component
        large = ExternalSort(folder, f"edges-{number:03d}-large", 2, max_bytes // 2)
        for part in unique_records(current.chunks()):
            large.add(part)
            large.add(part[:, ::-1])
        small = ExternalSort(folder, f"edges-{number:03d}-small", 2, max_bytes // 2)
        for part in _stars(unique_records(large.chunks()), _large_star):
            small.add(part)
        current = ExternalSort(folder, f"edges-{number:03d}-next", 2, max_bytes // 2)
        count = total = 0
        for part in _stars(unique_records(small.chunks()), _small_star):
            current.add(part)
        last = ExternalSort(folder, f"edges-{number:03d}-kept", 2, max_bytes // 2)
        for part in unique_records(current.chunks()):
            count += len(part)
            total = (total + int(mix(mix(part[:, 0]) + part[:, 1]).sum(dtype=np.uint64))) & 0xFFFFFFFFFFFFFFFF
            last.add(part)
        current = last
        if before == (count, total):
            break
        before = (count, total)
    yield from current.chunks()


def unique_records(chunks: Iterable[Records]) -> Iterator[Records]:
    """Yield the records of sorted chunks without repeats."""
    last: Records | None = None
    for chunk in chunks:
        new = np.ones(len(chunk), np.bool_)
        new[1:] = (chunk[1:] != chunk[:-1]).any(axis=1)
        new[0] = last is None or bool((chunk[0] != last).any())
        last = chunk[-1]
        yield chunk[new]


def _stars(chunks: Iterable[Records], emit: Callable[[Records, NDArray[np.uint64]], Records]) -> Iterator[Records]:
    """Give `emit` each chunk of edges (u, v) sorted, with the least of u and all its v beside each edge."""
    node, lowest = None, 0
    for chunk in chunks:
        if not len(chunk):
            continue
        heads = np.flatnonzero(np.r_[True, chunk[1:, 0] != chunk[:-1, 0]])
        least = np.minimum(chunk[heads, 0], chunk[heads, 1])  # sorted: the first neighbour is the lowest
        if node == int(chunk[0, 0]):
            least[0] = lowest
        node, lowest = int(chunk[-1, 0]), int(least[-1])
        yield emit(chunk, np.repeat(least, np.diff(np.r_[heads, len(chunk)])))


def _large_star(edges: Records, lowest: NDArray[np.uint64]) -> Records:
    """Hang every higher neighbour of a node on the lowest of its neighbourhood."""
    higher = edges[:, 1] > edges[:, 0]
    return np.stack([edges[higher, 1], lowest[higher]], axis=1)


def _small_star(edges: Records, lowest: NDArray[np.uint64]) -> Records:
    """Hang a node, and its lower neighbours, on the lowest of them; edges point from the higher to the lower node."""
    nodes = np.concatenate([edges[:, 0], edges[:, 1]])
    targets = np.concatenate([lowest, lowest])
    proper = nodes != targets
    return np.stack([nodes[proper], targets[proper]], axis=1)


def _descending(edges: Records) -> Records:
    return np.sort(edges, axis=1)[:, ::-1]
