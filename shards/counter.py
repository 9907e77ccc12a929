"""Counter-based random numbers: every draw is a function of its key, never of how many were drawn before.

A key is a 64-bit integer folded from small integers (seed, epoch, purpose, …); draws are ``mix64(key + counter · golden)``,
the SplitMix64 generator of Steele, Lea and Flood (OOPSLA 2014) addressed by position. Any draw can be made again in any
process, in any order, which is what makes batches a function of (seed, step).
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


@unique
class Purpose(IntEnum):
    """What a draw is for; part of its key, so that two uses never share random numbers. Values are frozen: they decide bytes."""

    ORDER = 1
    MASK_ORDER = 2
    MASK_KIND = 3
    NGRAM = 4
    SOP = 5
    SHORT = 6
    SPLIT = 7
    DROPOUT = 8
    FINETUNE = 9
    SUBSET = 10
    ODOMETER = 11
    INIT = 12
    STATIC_MASKS = 13
    RTD = 14
    MIX = 15
    WINDOW = 16
    PACK = 17


def mix64(x: U64) -> U64:
    """Return the SplitMix64 finaliser of each element: a bijection of 64-bit integers that scatters neighbours."""
    # In place, save for the shifted copies: half the memory traffic of the plain expression.
    mixed: U64 = np.right_shift(x, np.uint64(30))
    mixed ^= x
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    shifted = np.right_shift(mixed, np.uint64(27))
    mixed ^= shifted
    mixed *= np.uint64(0x94D049BB133111EB)
    np.right_shift(mixed, np.uint64(31), out=shifted)
    mixed ^= shifted
    return mixed


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def fold(*parts: int) -> int:
    """Fold integers of any size and sign, in order, into one 64-bit key."""
    key = 0
    for part in parts:
        value = part & _MASK if -(1 << 63) <= part <= _MASK else _mix_int(part & _MASK) ^ ((part >> 64) & _MASK)
        key = _mix_int((key + _GOLDEN + value) & _MASK)
    return key


def fold_each(key: int | U64, values: U64 | int) -> U64:
    """Fold one more integer into a key (or one key a row), vectorised: at least one of the two is an array."""
    # Plain integers are added as Python integers: numpy warns when a scalar sum wraps.
    if isinstance(key, int):
        return mix64(np.uint64((key + _GOLDEN) & _MASK) + np.asarray(values, np.uint64))
    if isinstance(values, int):
        return mix64(key + np.uint64((values + _GOLDEN) & _MASK))
    return mix64(key + np.uint64(_GOLDEN) + values)


def uniform(bits: U64) -> F64:
    """Map 64 random bits to [0, 1) with the top 53 of them."""
    return (bits >> np.uint64(11)).astype(np.float64) * (1.0 / (1 << 53))


def below(bits: U64, bound: npt.NDArray[np.int64] | int) -> npt.NDArray[np.int64]:
    """Map 64 random bits to integers in [0, bound); the bias is below bound / 2⁵³."""
    scaled: F64 = uniform(bits) * np.asarray(bound, dtype=np.float64)
    return scaled.astype(np.int64)
