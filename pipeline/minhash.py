"""MinHash signatures of texts over character shingles, and the bands by which near duplicates meet (Broder 1997; Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, §3.4).

A permutation is x → a·x mod 2³² with an odd a on mixed shingle hashes: one multiplication and one minimum a shingle and
permutation, both of which numpy does eight at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.rolling_hash import Hashes, code_points, mix, prefix_sums, windows

_BLOCK = 1024  # shingles a step: permutations × block × 4 bytes stay in the processor's second cache
_GROUP_CHARACTERS = 1 << 15
_SEED = 0x57_6F_72_64  # arbitrary, fixed: signatures of all data sets agree


def signatures(texts: Sequence[str], permutations: int, width: int) -> NDArray[np.uint32]:
    """Return one MinHash signature a text: uint32 [texts, permutations].

    A shingle is a run of `width` characters; a text shorter than that is one shingle.
    """
    multipliers = (mix(np.arange(1, permutations + 1, dtype=np.uint64) + np.uint64(_SEED)).astype(np.uint32) | np.uint32(1))[
        :, None
    ]
    result = np.full((len(texts), permutations), 0xFFFFFFFF, np.uint32)
    product = np.empty((permutations, _BLOCK), np.uint32)
    for number, shingles in enumerate(_shingles(texts, width)):
        lowest = result[number]
        for begin in range(0, len(shingles), _BLOCK):
            block = shingles[begin : begin + _BLOCK]
            products = np.multiply(multipliers, block, out=product[:, : len(block)])
            np.minimum(lowest, products.min(axis=1), out=lowest)
    return result


def _shingles(texts: Sequence[str], width: int) -> Iterator[NDArray[np.uint32]]:
    """Yield the upper halves of each text's shingle hashes; short texts are hashed together, which saves calls."""
    begin = 0
    while begin < len(texts):
        end, characters = begin + 1, len(texts[begin])
        while end < len(texts) and characters + len(texts[end]) <= _GROUP_CHARACTERS:
            characters += len(texts[end])
            end += 1
        group = texts[begin:end]
        hashes = (shingle_hashes("".join(group), width) >> np.uint64(32)).astype(np.uint32)
        offset = 0
        for text in group:
            if len(text) < width:
                yield (shingle_hashes(text, width) >> np.uint64(32)).astype(np.uint32)
            else:
                yield hashes[offset : offset + len(text) - width + 1]
            offset += len(text)
        begin = end


def shingle_hashes(text: str, width: int) -> Hashes:
    """Return the hashes of a text's shingles, in order, repeats included."""
    codes = mix(code_points(text))
    return windows(prefix_sums(codes), min(width, len(codes)))


def bands_and_rows(permutations: int, threshold: float, recall: float = 0.9) -> tuple[int, int]:
    """Return (bands b, rows a band r): the most rows for which a pair at the threshold meets with probability ≥ `recall`.

    A pair of Jaccard similarity s meets in at least one band with probability 1 - (1 - s^r)^b, b = permutations // r; more rows
    mean fewer candidates below the threshold.
    """
    rows = max(r for r in range(1, permutations + 1) if r == 1 or 1 - (1 - threshold**r) ** (permutations // r) >= recall)
    return permutations // rows, rows


def band_keys(signature: NDArray[np.uint32], bands: int, rows: int) -> Hashes:
    """Return the key of each text in each band: uint64 [texts, bands]; texts that agree on a band's rows share its key."""
    part = signature[:, : bands * rows].reshape(len(signature), bands, rows).astype(np.uint64)
    factors = mix(np.arange(1, bands * rows + 1, dtype=np.uint64)).reshape(bands, rows) | np.uint64(1)
    return mix((part * factors).sum(axis=2, dtype=np.uint64) + mix(np.arange(bands, dtype=np.uint64) + np.uint64(_SEED)))
