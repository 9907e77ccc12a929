"""What is done about a step that went wrong, decided before its update: go on, skip it, go back, or end the run.

    the loss or a gradient is not finite   skipped while the loss scale can still fall (float16); otherwise as a last resort
                                           a rollback, if one is allowed, or the end of the run. No weight is ever touched
    the loss is a spike (`spikes`)         the samples are named and training goes on; or a rollback, if one is allowed

Everything is a function of numbers that all ranks have in common, so all ranks decide alike. The first rank writes down in the
run's folder what happened: ``overflows.jsonl``, ``spikes.jsonl`` and (`pretrain.rollback`) ``rollbacks.jsonl``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain.distributed import World
from pretrain.errors import DivergenceError
from pretrain.log_line import say
from pretrain.optimizer import Optimizer
from pretrain.rollback import Rollback
from pretrain.sample_sources import Sample, name_samples
from pretrain.spikes import Spike, find_spike
from pretrain.step_records import OVERFLOWS, SPIKES, append_record
from pretrain.train_state import TrainState
from shards.reader import DataSet

_SHOWN = 8
_I64 = npt.NDArray[np.int64]


class Verdict(Enum):
    """What to do with the gradients of a step."""

    UPDATE = "update"
    SKIP = "skip"
    ROLL_BACK = "roll back"


class Trouble:
    """Judges steps; see the module docstring. spike_threshold: in standard deviations, 0 looks for no spikes."""

    def __init__(
        self,
        folder: Path,
        data_sets: Sequence[DataSet],
        world: World,
        optimizer: Optimizer,
        rollback: Rollback,
        *,
        spike_threshold: float,
    ) -> None:
        self._folder, self._data_sets, self._world, self._optimizer = folder, data_sets, world, optimizer
        self._rollback, self._threshold = rollback, spike_threshold

    def judge(
        self,
        state: TrainState,
        batches: Sequence[Mapping[str, Any]],
        *,
        losses: Mapping[str, float],
        loss: float,
        squared_norm: float,
    ) -> Verdict:
        """Return what to do with step ``state.step + 1``, given its losses over all ranks and its gradients' squared norm.

        loss: the weighted sum of `losses`, by name. A collective operation when something is wrong. Raises DivergenceError.
        """
        step = state.step + 1
        if not math.isfinite(squared_norm + loss):
            return self._not_finite(step, state, batches, losses)
        spike = find_spike(state.recent_losses, loss, self._threshold)
        if spike is None:
            return Verdict.UPDATE
        self._report_spike(step, spike, batches)
        if self._rollback.choose(step, state) is not None:
            self._optimizer.forget()
            return Verdict.ROLL_BACK
        return Verdict.UPDATE

    def _not_finite(
        self, step: int, state: TrainState, batches: Sequence[Mapping[str, Any]], losses: Mapping[str, float]
    ) -> Verdict:
        tensor, scale = self._first_non_finite(losses), state.scaler.scale
        samples = self._samples(batches)
        self._optimizer.forget()
        skipped = not state.scaler.is_exhausted
        if self._world.is_first:
            record = {"step": step, "scale": scale, "tensor": tensor, "skipped": skipped}
            append_record(self._folder / OVERFLOWS, record | {n: v if math.isfinite(v) else None for n, v in losses.items()})
        if skipped:
            return Verdict.SKIP
        if self._rollback.choose(step, state) is not None:
            return Verdict.ROLL_BACK
        raise DivergenceError(
            f"{tensor} is not finite; no weight was changed", where=f"step {step}, samples {_listed(samples)}",
            expected="finite numbers", got=", ".join(f"{n} {v}" for n, v in losses.items()) + f", loss scale {scale}",
            hint="The last checkpoint is intact. Start another run with a lower --max-lr or a longer --warmup-steps",
        )  # fmt: skip

    def _first_non_finite(self, losses: Mapping[str, float]) -> str:
        """Return the name of the first tensor that is not finite, in the order of computing: losses, then gradients."""
        for name, value in losses.items():
            if not math.isfinite(value):
                return name
        gradient = self._optimizer.first_non_finite()
        return f"gradient of {gradient}" if gradient is not None else "gradient norm"

    def _report_spike(self, step: int, spike: Spike, batches: Sequence[Mapping[str, Any]]) -> None:
        samples = self._samples(batches)
        if not self._world.is_first:
            return
        append_record(
            self._folder / SPIKES,
            {
                "step": step, "loss": spike.loss, "median": spike.median, "sd": spike.sd, "limit": spike.limit,
                "samples": [sample.to_json() for sample in samples],
            },
        )  # fmt: skip
        say(
            f"warning: the loss of step {step} is a spike: {spike.loss:.6f}, where the recent median is {spike.median:.6f} and "
            f"{spike.limit:.6f} the limit; samples {_listed(samples)}; all in {SPIKES}"
        )

    def _samples(self, batches: Sequence[Mapping[str, Any]]) -> list[Sample]:
        """Return the samples of all ranks, on the first; a collective operation."""
        ids = np.concatenate([np.asarray(batch["sample_ids"]) for batch in batches]).astype(np.int64)
        sets = np.concatenate([np.asarray(batch["set_index"]) for batch in batches]).astype(np.int64)
        counts = np.zeros(self._world.size, np.int64)
        counts[self._world.rank] = len(ids)
        counts = self._world.sum(counts)
        begin = int(counts[: self._world.rank].sum())
        both = np.zeros((2, int(counts.sum())), np.int64)
        both[:, begin : begin + len(ids)] = sets, ids
        both = self._world.sum(both)
        return name_samples(self._data_sets, both[0], both[1])


def _listed(samples: Sequence[Sample]) -> str:
    rest = len(samples) - _SHOWN
    return ", ".join(f"{s.sample_id} ({s.source})" for s in samples[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
