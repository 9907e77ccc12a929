"""How many samples every step takes, and where in the endless order it begins: stages of equal batches, in O(1)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from shards.errors import UsageError

WINDOW_STEPS = 16  # steps whose samples are sorted by length together, with bins


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """`stages` are (first step, samples a step over all ranks), ascending; the last one has no end.

    Positions count from the first stage's first step, so that a stage that reads data of its own begins at their beginning:
    ``BatchSizes(stages=((501, 64),)).start(501) == 0``. Raises UsageError for stages that are no such list.
    """

    stages: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        firsts = [first for first, _ in self.stages]
        if not firsts or firsts[0] < 1 or sorted(set(firsts)) != firsts:
            raise UsageError("stages must begin at ascending steps, from step 1 on", got=self.stages)
        if min(size for _, size in self.stages) < 1:
            raise UsageError("a step must take at least one sample", got=self.stages)

    @classmethod
    def constant(cls, global_batch: int) -> BatchSizes:
        return cls(stages=((1, global_batch),))

    @property
    def first_step(self) -> int:
        return self.stages[0][0]

    def stage_of(self, step: int) -> int:
        """Return the number of the stage that `step` belongs to, from 0. Raises UsageError for steps before the first."""
        if step < self.first_step:
            raise UsageError("no such step", expected=f"at least {self.first_step}", got=step)
        return bisect_right(self.stages, step, key=lambda stage: stage[0]) - 1

    def batch_size(self, step: int) -> int:
        """Return the samples of `step`, over all ranks."""
        return self.stages[self.stage_of(step)][1]

    def start(self, step: int) -> int:
        """Return the position that `step` begins at: the sum of all earlier batches."""
        return self.sum_before(step, [size for _, size in self.stages])

    def sum_before(self, step: int, per_step: list[int]) -> int:
        """Return the sum over all steps before `step` of a number that each stage has its own constant of."""
        stage = self.stage_of(step)
        firsts = [first for first, _ in self.stages]
        whole = sum((firsts[i + 1] - firsts[i]) * per_step[i] for i in range(stage))
        return whole + (step - firsts[stage]) * per_step[stage]

    def step_at(self, number: int, per_step: list[int]) -> tuple[int, int]:
        """Return (step, number within the step): the inverse of `sum_before`, for number ≥ 0."""
        for i, (first, _) in enumerate(self.stages):
            end = self.stages[i + 1][0] if i + 1 < len(self.stages) else None
            whole, within = divmod(number, per_step[i])
            if end is None or first + whole < end:
                return first + whole, within
            number -= (end - first) * per_step[i]
        raise AssertionError("the last stage has no end")
