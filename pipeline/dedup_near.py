"""The second half of near-duplicate removal: band keys → candidate pairs → verified pairs.

Texts that share a band's key are candidates. Exact copies are one text here. In a bucket of up to 17 texts every pair is tried;
in a larger one each text is tried against its 16 neighbours and the bucket's first, which connects a bucket of near duplicates
as well and keeps the work linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.dedup_fingerprints import ID_BITS, signatures_path
from pipeline.external_sort import Records

_NEIGHBOURS = 16


def candidate_pairs(chunks: Iterable[Records]) -> Iterator[Records]:
    """Yield pairs of ids, the lower first, repeats included, from sorted (band key, hash, id).

    How the records are cut into chunks changes the order of the pairs at most.
    """
    tail = np.empty((0, 3), np.uint64)  # the last records of the chunk before: buckets may go on
    previous: Records | None = None
    first_key, first_id = None, 0
    for chunk in chunks:
        new = np.ones(len(chunk), np.bool_)
        new[1:] = (chunk[1:, :2] != chunk[:-1, :2]).any(axis=1)
        new[0] = previous is None or bool((chunk[0, :2] != previous).any())
        previous = chunk[-1, :2].copy()
        fresh = chunk[new]
        if not len(fresh):
            continue
        records = np.concatenate([tail, fresh])
        old = len(tail)
        for lag in range(1, min(_NEIGHBOURS, len(records) - 1) + 1):
            begin = max(old - lag, 0)  # pairs within the tail have been given before
            left, right = records[begin:-lag], records[begin + lag :]
            yield _pairs(left, right)
        heads = np.flatnonzero(np.r_[True, fresh[1:, 0] != fresh[:-1, 0]])
        firsts = fresh[heads, 2]
        if first_key == int(fresh[0, 0]):
            firsts[0] = first_id
        first_key, first_id = int(fresh[-1, 0]), int(firsts[-1])
        star = fresh.copy()
        star[:, 2] = np.repeat(firsts, np.diff(np.r_[heads, len(fresh)]))
        yield _pairs(star, fresh)
        tail = records[-_NEIGHBOURS:].copy()


def _pairs(left: Records, right: Records) -> Records:
    met = (left[:, 0] == right[:, 0]) & (left[:, 2] != right[:, 2])
    return np.sort(np.stack([left[met, 2], right[met, 2]], axis=1), axis=1)


def verified_pairs(
    pairs: Iterable[Records], folder: Path, permutations: int, threshold: float, max_bytes: int
) -> Iterator[Records]:
    """Yield the pairs whose signatures agree in a share of at least `threshold` of the permutations.

    That share estimates the Jaccard similarity s with a standard deviation of sqrt(s(1-s)/permutations): 0.03 near 0.9.
    """
    size = max(max_bytes // (permutations * 16), 256)
    for chunk in pairs:
        for begin in range(0, len(chunk), size):
            part = chunk[begin : begin + size]
            ids, inverse = np.unique(part, return_inverse=True)
            sides = _signatures(ids, folder, permutations)
            inverse = inverse.reshape(-1, 2)
            agreeing = np.count_nonzero(sides[inverse[:, 0]] == sides[inverse[:, 1]], axis=1)
            yield part[agreeing >= threshold * permutations]


def _signatures(ids: Records, folder: Path, permutations: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Return the signatures of ascending ids: uint16 [ids, permutations]."""
    result = np.empty((len(ids), permutations), np.uint16)
    units = (ids >> np.uint64(ID_BITS)).astype(np.int64)
    numbers = (ids & np.uint64((1 << ID_BITS) - 1)).astype(np.int64)
    heads = np.flatnonzero(np.r_[True, units[1:] != units[:-1]])
    for begin, end in zip(heads.tolist(), [*heads[1:].tolist(), len(ids)], strict=True):
        stored = np.memmap(signatures_path(folder, int(units[begin])), "<u2", "r").reshape(-1, permutations)
        result[begin:end] = stored[numbers[begin:end]]
    return result
