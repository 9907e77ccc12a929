"""Loss spikes: steps whose loss stands far above the recent ones, found by median and MAD so that a spike cannot hide the next.

A loss is a spike when it exceeds median + threshold · s, where s = 1.4826 · MAD of the last 128 losses estimates their standard
deviation (1.4826: of a normal distribution; MAD: median absolute deviation from the median) and counts at least as 1 % of the
median. Nothing is called a spike before 32 losses are known. All losses enter the window, spikes as well: a level that stays
is a level, after half a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 128
LEAST = 32
_SD_OF_MAD = 1.4826
_LEAST_SD_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class Spike:
    """A loss above `limit`, beside the recent median and standard deviation that the limit follows from."""

    loss: float
    median: float
    sd: float
    limit: float


def find_spike(recent: Sequence[float], loss: float, threshold: float) -> Spike | None:
    """Return what makes `loss` a spike after the `recent` losses, None when it is none. A threshold of 0 finds none."""
    if threshold == 0 or len(recent) < LEAST:
        return None
    middle = median(recent)
    sd = max(_SD_OF_MAD * median(abs(x - middle) for x in recent), _LEAST_SD_SHARE * abs(middle))
    limit = middle + threshold * sd
    return Spike(loss=loss, median=middle, sd=sd, limit=limit) if loss > limit else None


def with_loss(recent: Sequence[float], loss: float) -> tuple[float, ...]:
    """Return the window after one more loss."""
    return (*recent[-(WINDOW - 1) :], loss)
