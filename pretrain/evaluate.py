"""Evaluation on the held-out split: the same rows, masks and swaps every time, so that figures of a run can be compared.

Masks are those of epoch 0 under a key of their own, whatever the seed of the training. Nothing random is drawn (dropout is
off), so evaluating more or less often changes no other number. All rows are used, each once, up to 2,000: at that number the
95 % interval of an accuracy is at most ± 2.2 points wide, and evaluation stays short beside a thousand steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain.distributed import World
from pretrain.loader import DRAWS
from pretrain.options import RTD_WEIGHT
from shards.collate import BatchPlan, collate
from shards.reader import Split
from shards.sampling import sampling_draws

if TYPE_CHECKING:
    from pretrain.objectives import Objective

MAX_ROWS = 2_000
EVALUATION_KEY = 0
_Z_95 = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean losses and accuracies over the held-out rows. SOP figures are None without sentence pairs (or without the task).

    RTD figures are None unless replaced tokens are to be detected; `lm_loss` is the generator's then.
    """

    rows: int
    masked_tokens: int
    lm_loss: float
    lm_accuracy: float
    pairs: int
    sop_loss: float | None
    sop_accuracy: float | None
    sop_lower_bound: float | None
    rtd_loss: float | None = None
    rtd_accuracy: float | None = None

    @property
    def loss(self) -> float:
        return self.lm_loss + (self.sop_loss or 0.0) + RTD_WEIGHT * (self.rtd_loss or 0.0)

    def line(self, step: int) -> str:
        text = f"eval step {step}, lm_loss: {self.lm_loss:.6f}, lm_acc: {self.lm_accuracy:.4f}"
        if self.sop_accuracy is not None:
            text += f", sop_acc: {self.sop_accuracy:.4f} (n={self.pairs}, 95 % lower bound {self.sop_lower_bound:.4f})"
        if self.rtd_loss is not None:
            text += f", rtd_loss: {self.rtd_loss:.6f}, rtd_acc: {self.rtd_accuracy:.4f}"
        return text

    def to_json(self) -> dict[str, Any]:
        figures = {"loss": self.loss, **self.__dict__}
        if self.rtd_loss is None:
            del figures["rtd_loss"], figures["rtd_accuracy"]
        return figures


def wilson_lower_bound(correct: int, count: int) -> float:
    """Return the lower end of the two-sided 95 % Wilson score interval of a proportion (Wilson, JASA 1927)."""
    if count == 0:
        return 0.0
    share, z2 = correct / count, _Z_95**2
    middle = share + z2 / (2 * count)
    spread = _Z_95 * math.sqrt((share * (1 - share) + z2 / (4 * count)) / count)
    return max(0.0, (middle - spread) / (1 + z2 / count))


class Evaluator:
    """Evaluates a network on the first rows of a split; each rank computes its share of them."""

    def __init__(
        self, split: Split, plan: BatchPlan, objective: Objective, *, batch_rows: int, world: World, max_rows: int = MAX_ROWS
    ) -> None:
        self._split, self._plan, self._world = split, replace(plan, seed=EVALUATION_KEY), world
        self._objective = objective
        self.rows = min(len(split), max_rows)
        begin, end = self.rows * world.rank // world.size, self.rows * (world.rank + 1) // world.size
        self._slices = [np.arange(i, min(i + batch_rows, end), dtype=np.int64) for i in range(begin, end, batch_rows)]

    def __call__(self, network: Any) -> Evaluation:
        """Return the figures of `network`, which the objective built; it is left in training mode."""
        import paddle

        sums = np.zeros(9, np.float64)
        network.eval()
        with paddle.no_grad():
            for rows in self._slices:
                sums += self._batch(network, rows)
        network.train()
        lm_sum, lm_count, lm_correct, sop_sum, pairs, sop_correct, rtd_sum, tokens, rtd_correct = self._world.sum(sums).tolist()
        has_pairs, detects = pairs > 0, tokens > 0
        return Evaluation(
            rows=self.rows,
            masked_tokens=int(lm_count),
            lm_loss=lm_sum / max(lm_count, 1.0),
            lm_accuracy=lm_correct / max(lm_count, 1.0),
            pairs=int(pairs),
            sop_loss=sop_sum / pairs if has_pairs else None,
            sop_accuracy=sop_correct / pairs if has_pairs else None,
            sop_lower_bound=wilson_lower_bound(int(sop_correct), int(pairs)) if has_pairs else None,
            rtd_loss=rtd_sum / tokens if detects else None,
            rtd_accuracy=rtd_correct / tokens if detects else None,
        )

    def _batch(self, network: Any, rows: Any) -> Any:
        import paddle

        taken, epochs = self._split.take(rows), np.zeros(len(rows), np.int64)
        arrays: dict[str, Any] = dict(collate(taken, epochs, self._plan))
        if DRAWS in self._objective.keys:
            arrays[DRAWS] = sampling_draws(taken, epochs, self._plan.seed, arrays)
        return self._objective.sums(network, {name: paddle.to_tensor(arrays[name]) for name in self._objective.keys})
