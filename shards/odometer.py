"""An order-free sum over sample ids: two sets of samples have the same sum when, but for a chance of 2⁻¹²⁸, they are equal.

Each sample id is mapped to 128 bits by two independent mixes; the sum is taken modulo 2¹²⁸. A lost sample, a doubled one, or
one taken for another changes it, whatever the order, the number of ranks or of loader processes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from shards.counter import Purpose, fold, fold_each

_MODULUS = 1 << 128
_LOW_KEY, _HIGH_KEY = fold(Purpose.ODOMETER, 0), fold(Purpose.ODOMETER, 1)


def odometer_sum(sample_ids: npt.NDArray[np.uint64]) -> int:
    """Return the sum over `sample_ids`, an integer in [0, 2¹²⁸)."""
    low, high = _exact_sum(fold_each(_LOW_KEY, sample_ids)), _exact_sum(fold_each(_HIGH_KEY, sample_ids))
    return (low + (high << 64)) % _MODULUS


def _exact_sum(values: npt.NDArray[np.uint64]) -> int:
    # numpy would wrap at 2⁶⁴; halves of 32 bits cannot overflow for fewer than 2³² values.
    low = int((values & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    high = int((values >> np.uint64(32)).sum(dtype=np.uint64))
    return low + (high << 32)


def shard_odometer(shard_index: int, rows: int) -> int:
    """Return the sum over all samples of one shard."""
    return odometer_sum(sample_ids(shard_index, np.arange(rows, dtype=np.uint64)))


def sample_ids(shard_index: int, rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the ids of rows of one shard: shard index << 32 | row."""
    return (np.uint64(shard_index) << np.uint64(32)) | rows


def combine(sums: Iterable[int]) -> int:
    """Return the sum of disjoint sets of samples."""
    return sum(sums) % _MODULUS


def to_hex(value: int) -> str:
    """Return a sum as 32 hexadecimal digits, as manifests and checkpoints hold it."""
    return f"{value:032x}"
