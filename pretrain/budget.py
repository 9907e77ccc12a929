"""Training for a given time: the speed is measured during the warm-up, and the schedule is planned to fill the rest.

At the end of the warm-up the last step is fixed, once and for all: it is kept in the training state, saved at once, and found
again on resume. The run is then the same as one with that --max-steps and --warmup-steps: no clock decides a rate or a sample.
A machine that slows down afterwards makes the run longer, not its schedule shorter.
"""

from __future__ import annotations

import time

WARMUP_STEPS = 100  # unless --warmup-steps says otherwise
LEAST_WARMUP_STEPS = 10
UNBOUNDED_STEPS = 10**9  # the schedule's length until it is known
_RESERVE = 0.05  # of the time that is left, for evaluation, saving and a speed that varies


class Budget:
    """Measures the second half of the warm-up; `hours` count from the making of this object."""

    def __init__(self, hours: float, *, warmup_steps: int) -> None:
        self._started = time.perf_counter()
        self._budget_s, self._warmup_steps = hours * 3600, warmup_steps
        self._from_step, self._from_s = 0, 0.0
        self.step_s = 0.0

    def note(self, step: int) -> None:
        """Take note that `step` has been done. Call it after every step of the warm-up."""
        now = time.perf_counter() - self._started
        if self._from_step == 0 or step <= self._warmup_steps // 2:
            self._from_step, self._from_s = step, now
        else:
            self.step_s = (now - self._from_s) / (step - self._from_step)

    def last_step(self, step: int) -> int:
        """Return the step at which the time is used up, seen from the end of `step`; at least the next one."""
        left_s = self._budget_s - (time.perf_counter() - self._started)
        return plan_last_step(step, left_s=left_s, step_s=self.step_s)


def plan_last_step(step: int, *, left_s: float, step_s: float) -> int:
    """Return the last of the steps that fit into `left_s` after `step`, keeping a reserve; at least the next one."""
    return step + max(1, int(left_s * (1.0 - _RESERVE) / max(step_s, 1e-9)))
