"""64-bit hashes of every window of a sequence of numbers, vectorised: the base of shingles and of n-grams.

The hash of a window of m values v is mix(Σ v[i+j]·P^j mod 2⁶⁴), j from 0 to m-1; it is read off one prefix sum of v[i]·P^i,
divided by P^i (P is odd, so it has an inverse), which makes it as cheap for long windows as for short ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15  # odd; 2⁶⁴ over the golden ratio
_INVERSE = pow(_BASE, -1, 1 << 64)
_powers: Hashes = np.ones(1, np.uint64)
_inverse_powers: Hashes = np.ones(1, np.uint64)


def mix(values: NDArray[Any]) -> Hashes:
    """Return the values scattered over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = values.astype(np.uint64)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def prefix_sums(values: Hashes) -> Hashes:
    """Return the sums of values[:i]·P^i for i from 0 to n: uint64 [n + 1], for `windows`."""
    powers, _ = _grown(len(values))
    sums = np.empty(len(values) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    return sums


def windows(sums: Hashes, width: int) -> Hashes:
    """Return the hash of each window of `width` values; none when there are fewer values."""
    count = max(len(sums) - width, 0)
    _, inverse = _grown(count)
    return mix((sums[width:] - sums[:count]) * inverse[:count])


def spans(sums: Hashes, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Hashes:
    """Return the hash of values[begin[k]:end[k]] for each k."""
    _, inverse = _grown(len(sums))
    return mix((sums[end] - sums[begin]) * inverse[begin])


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text; lone surrogates are code points like any other."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _grown(length: int) -> tuple[Hashes, Hashes]:
    """Return the powers of P and of its inverse, at least `length` of them (kept: the longest text decides how many)."""
    global _powers, _inverse_powers
    if len(_powers) < length:
        size = 1 << (length - 1).bit_length()
        _powers, _inverse_powers = _power_table(_BASE, size), _power_table(_INVERSE, size)
    return _powers, _inverse_powers


def _power_table(base: int, size: int) -> Hashes:
    table = np.full(size, base, np.uint64)
    table[0] = 1
    return np.cumprod(table, dtype=np.uint64)
