"""Early stopping: training has come to its end when the held-out loss has not been lower for so many evaluations.

A function of the step and of the best evaluation so far, so a resumed run stops where an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def evaluations_since_best(step: int, best: Mapping[str, Any] | None, eval_steps: int) -> int:
    """Return the evaluations after that of `best` ({"step", "loss"}) up to `step`; 0 while there is no finite loss."""
    return 0 if best is None else step // eval_steps - int(best["step"]) // eval_steps


def is_exhausted(step: int, best: Mapping[str, Any] | None, *, eval_steps: int, patience: int | None) -> bool:
    """Tell whether `patience` evaluations have passed without a lower loss; never without a patience."""
    return patience is not None and evaluations_since_best(step, best, eval_steps) >= patience
