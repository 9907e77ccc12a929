"""The loss scale of float16 training, by the rules of paddle's `update_loss_scaling` (and so of PaddleNLP's logs).

Small gradients vanish in float16, so the loss is multiplied by a scale before the backward pass and gradients are divided by it
before the update. The scale looks for the largest value that still overflows rarely:

    a good step (all gradients finite)   good + 1, bad = 0; the 1,000th in a row doubles the scale (unless that is not finite
                                         in float32) and clears `good`
    a bad step (update skipped)          bad + 1, good = 0; the 2nd in a row multiplies the scale by 0.8 (never below 1) and
                                         clears `bad`

Arithmetic is float32's, so that a scale can be compared to the last bit. paddle's own `GradScaler` switches itself off on CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

INITIAL_SCALE = 32768.0
GROWTH, GOOD_STEPS_TO_GROW = 2.0, 1000
BACK_OFF, BAD_STEPS_TO_BACK_OFF = 0.8, 2
LOWEST_SCALE = 1.0


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """A loss scale with its counters: steps in a row without and with an overflow, and updates skipped in all.

    `is_dynamic`: the scale follows the rules of the module. Otherwise it stays, and `good_steps` counts all updates.
    """

    scale: float = 1.0
    good_steps: int = 0
    bad_steps: int = 0
    skipped_steps: int = 0
    is_dynamic: bool = False

    @property
    def is_exhausted(self) -> bool:
        """Whether an overflow can no longer be met by a lower scale."""
        return not self.is_dynamic or self.scale <= LOWEST_SCALE

    def after(self, *, is_finite: bool) -> Scaler:
        """Return the state after a step whose gradients were all finite, or were not and were not used."""
        if is_finite:
            good_steps = self.good_steps + 1
            if not self.is_dynamic or good_steps < GOOD_STEPS_TO_GROW:
                return replace(self, good_steps=good_steps, bad_steps=0)
            grown = _float32_product(self.scale, GROWTH)
            return replace(self, scale=grown if math.isfinite(grown) else self.scale, good_steps=0, bad_steps=0)
        bad_steps, skipped_steps = self.bad_steps + 1, self.skipped_steps + 1
        if not self.is_dynamic or bad_steps < BAD_STEPS_TO_BACK_OFF:
            return replace(self, good_steps=0, bad_steps=bad_steps, skipped_steps=skipped_steps)
        lower = max(LOWEST_SCALE, _float32_product(self.scale, BACK_OFF))
        return replace(self, scale=lower, good_steps=0, bad_steps=0, skipped_steps=skipped_steps)


def fresh_scaler(*, is_dynamic: bool) -> Scaler:
    """Return the state before the first step."""
    return Scaler(scale=INITIAL_SCALE if is_dynamic else 1.0, is_dynamic=is_dynamic)


def _float32_product(scale: float, factor: float) -> float:
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(scale) * np.float32(factor))
