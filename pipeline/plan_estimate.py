"""From a sample to the whole: totals with their uncertainty, and what follows for shards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A predicted number, and two standard errors of it: about 95 % of such predictions come that close."""

    value: float
    plus_minus: float

    def to_json_object(self) -> dict[str, float]:
        return {"value": round(self.value, 3), "plus_minus": round(self.plus_minus, 3)}

    def times(self, factor: float) -> Estimate:
        return Estimate(value=self.value * factor, plus_minus=self.plus_minus * abs(factor))

    def plus(self, value: float) -> Estimate:
        return Estimate(value=self.value + value, plus_minus=self.plus_minus)


def total_of(counts: F64, sizes: F64, total_size: float) -> Estimate:
    """Return the ratio estimate of a total, from `counts` in stretches of `sizes` bytes out of `total_size`.

    The standard error is that of a ratio estimator with the correction for a finite population (Cochran, Sampling Techniques,
    3rd edition, §6.4). A sample that holds everything has none.
    """
    seen = float(sizes.sum())
    ratio = float(counts.sum()) / seen
    share, count = min(seen / total_size, 1.0), len(sizes)
    if share == 1.0:
        return Estimate(value=ratio * total_size, plus_minus=0.0)
    if count < 2:
        return Estimate(value=ratio * total_size, plus_minus=ratio * total_size)
    residuals = counts - ratio * sizes
    error = math.sqrt(count / (count - 1) * float(residuals @ residuals) * (1.0 - share)) / seen
    return Estimate(value=ratio * total_size, plus_minus=_STANDARD_ERRORS * error * total_size)


def held_out(whole: Estimate, share: float, documents: float) -> Estimate:
    """Return the part of a total that falls to documents held out, each with probability `share`.

    Its spread is that of a sum over a random number of documents whose lengths are about exponential: √(2·n) of n of them.
    """
    drawn = share * documents
    relative = math.sqrt(2.0 / drawn) if drawn > 0 else 0.0
    error = math.hypot(whole.plus_minus * share, _STANDARD_ERRORS * relative * whole.value * share)
    return Estimate(value=whole.value * share, plus_minus=error)


def units_in(size: int, unit_bytes: int, mean_document_bytes: float) -> int:
    """Return into how many units a file of `size` bytes is likely cut: each ends with the document that fills it."""
    whole = unit_bytes + mean_document_bytes
    return 1 + max(0, math.floor((size - 1 - mean_document_bytes) / whole))


def shards_of(units: int, documents: float, heldout: float) -> float:
    """Return the expected number of shards: one a unit, and one more for each with a document held out."""
    return units + units * (1.0 - math.pow(1.0 - heldout, documents / max(units, 1)))
