"""The learning rate, as a pure function of the step.

With no state there is nothing to save, to restore, or to be off by one after a resume. Steps are 1-based: ``rate(1)`` is the
rate of the first update. Warm-up rises from ``max_lr / warmup_steps`` at step 1 to ``max_lr`` at step ``warmup_steps``; it does
not start at 0, which would waste an update.

After the warm-up, with ``p = (step − warmup) / (max_steps − warmup)``:

    linear     max_lr − (max_lr − min_lr) · p
    cosine     min_lr + (max_lr − min_lr) · (1 + cos πp) / 2                        (Loshchilov and Hutter, ICLR 2017)
    wsd        max_lr, then linearly to min_lr over the last 10 % of all steps, or
               from `decay_from` on                                                 (Hu et al., MiniCPM, 2024)
    constant   max_lr
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shards.errors import UsageError, unknown_name

KINDS = ("linear", "cosine", "wsd", "constant")
WSD_DECAY_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning-rate schedule of `max_steps` updates, see the module docstring.

    decay_from: of wsd, the last step at the highest rate.
    """

    kind: str
    max_lr: float
    min_lr: float
    warmup_steps: int
    max_steps: int
    decay_from: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("learning-rate schedule", self.kind, KINDS)
        if not (math.isfinite(self.max_lr) and self.max_lr > 0.0):
            raise UsageError(f"the highest learning rate must be positive, got {self.max_lr}")
        if not 0.0 <= self.min_lr <= self.max_lr:
            raise UsageError(f"the lowest learning rate must lie between 0 and {self.max_lr} (the highest), got {self.min_lr}")
        if self.max_steps < 1:
            raise UsageError(f"there must be at least one step, got {self.max_steps}")
        if not 0 <= self.warmup_steps <= self.max_steps:
            raise UsageError(f"warm-up must take 0 to {self.max_steps} steps (all of them), got {self.warmup_steps}")
        if self.decay_from is not None and not (self.kind == "wsd" and self.warmup_steps <= self.decay_from < self.max_steps):
            raise UsageError(
                f"the decay must begin after the {self.warmup_steps} steps of warm-up and before step {self.max_steps} of a wsd "
                f"schedule, got step {self.decay_from} of {self.kind}"
            )

    @property
    def last_full_step(self) -> int:
        """The last step at the highest rate, of wsd and constant schedules; of the others, the end of the warm-up."""
        if self.kind == "constant":
            return self.max_steps
        if self.kind != "wsd":
            return self.warmup_steps
        if self.decay_from is not None:
            return self.decay_from
        return self.max_steps - min(max(1, round(self.max_steps * WSD_DECAY_SHARE)), self.max_steps - self.warmup_steps)

    def rate(self, step: int) -> float:
        """Return the learning rate of update `step`, 1 ≤ step; past the last step it stays what it was there."""
        if step < 1:
            raise UsageError(f"steps are counted from 1, got {step}")
        step = min(step, self.max_steps)
        if step <= self.warmup_steps:
            return self.max_lr * step / self.warmup_steps
        span = self.max_lr - self.min_lr
        if self.kind == "constant":
            return self.max_lr
        if self.kind == "wsd":
            decay_steps = self.max_steps - self.last_full_step
            return self.min_lr + span * min(1.0, (self.max_steps - step) / decay_steps)
        left = (self.max_steps - step) / (self.max_steps - self.warmup_steps)
        if self.kind == "linear":
            return self.min_lr + span * left
        return self.min_lr + span * (1.0 + math.cos(math.pi * (1.0 - left))) / 2.0


def default_warmup_steps(max_steps: int) -> int:
    """Return 1 % of all steps, rounded up."""
    return math.ceil(max_steps / 100)
