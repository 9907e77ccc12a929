"""The share of tokens that is predicted, as a function of the step: constant, or from one rate to another in a straight line."""

from __future__ import annotations

from dataclasses import dataclass

from shards.errors import UsageError

MAX_NGRAM = 8


@dataclass(frozen=True, kw_only=True)
class MaskRates:
    """`first` at step 1, `last` from step `steps` on, linear in between."""

    first: float
    last: float
    steps: int

    def at(self, step: int) -> float:
        if self.first == self.last or step >= self.steps:
            return self.last
        return self.first + (self.last - self.first) * (step - 1) / (self.steps - 1)


def parse_mask_rate(text: str) -> tuple[float, float]:
    """Return (first, last) of ``RATE`` or ``FIRST:LAST``. Raises UsageError."""
    first, _, last = text.partition(":")
    try:
        return float(first), float(last or first)
    except ValueError:
        raise UsageError("--mask-rate takes a rate, or FIRST:LAST", got=repr(text)) from None
