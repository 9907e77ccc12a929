"""What a run tells of itself while it trains: log lines, records of metrics.jsonl, dashboards, the bar, and last figures.

Speeds are taken over the steps since the last log line, without the time of evaluations and saves between them. Only the first
rank tells; all ranks count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain import log_line
from pretrain.distributed import World
from pretrain.evaluate import Evaluation
from pretrain.observers import Observers
from pretrain.options import RTD_WEIGHT
from pretrain.train_state import TrainState
from pretrain.utilisation import Peak, Work, peak_memory_bytes


class Stopwatch:
    """Time spent training since the last log line, without evaluation and saving."""

    def __init__(self) -> None:
        self.restart(0.0)

    def restart(self, wait_s: float) -> None:
        self._since, self._paused_s, self._wait_before_s = time.perf_counter(), 0.0, wait_s
        self.steps = self.samples = self.tokens = 0

    def paused(self, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self._paused_s += time.perf_counter() - started
        return result

    def count(self, *, samples: int, tokens: int) -> None:
        """Count one step."""
        self.steps += 1
        self.samples += samples
        self.tokens += tokens

    @property
    def elapsed_s(self) -> float:
        return max(time.perf_counter() - self._since - self._paused_s, 1e-9)

    def wait_share(self, wait_s: float) -> float:
        return min(1.0, (wait_s - self._wait_before_s) / self.elapsed_s)


class Reports:
    """The reports of one run; see the module docstring. `detects`: replaced tokens are detected, which has a loss of its own."""

    def __init__(
        self, folder: Path, world: World, *, step: int, last_step: int, work: Work, peak: Peak, detects: bool, on_gpu: bool
    ) -> None:
        self._folder, self._tells, self._work, self.peak = folder, world.is_first, work, peak
        self._detects, self._on_gpu = detects, on_gpu
        self._observers = Observers(folder, step=step, last_step=last_step, active=world.is_first)
        self._record: log_line.StepRecord | None = None
        self._evaluation: Evaluation | None = None
        self.watch = Stopwatch()

    @property
    def described(self) -> list[str]:
        """Say, a line each, what utilisation is measured by and how to look at the dashboards."""
        flops_per_s = self.peak.flops_per_s
        tera = "" if flops_per_s is None else f": {flops_per_s / 1e12:.3f} TFLOP/s"
        return [f"peak: {self.peak.reason}{tera}", *self._observers.described]

    def advance(self, last_step: int) -> None:
        """Show that a step was done, of now `last_step`."""
        self._observers.advance(last_step, None if self._record is None else self._record.loss)

    def log(self, state: TrainState, *, learning_rate: float, wait_s: float) -> None:
        """Report the steps of the state's window, and begin another. wait_s: spent waiting for data since the run began."""
        watch, window = self.watch, state.window
        operations = self._work.operations(tokens=watch.tokens, samples=watch.samples, masked=window.lm_count)
        peak = self.peak.flops_per_s
        record = log_line.StepRecord(
            step=state.step,
            loss=window.lm_loss + window.sop_loss + RTD_WEIGHT * window.rtd_loss,
            lm_loss=window.lm_loss,
            sop_loss=window.sop_loss,
            lr=learning_rate,
            loss_scaling=state.scaler.scale,
            num_good_steps=state.scaler.good_steps,
            num_bad_steps=state.scaler.bad_steps,
            steps_per_s=watch.steps / watch.elapsed_s,
            samples_per_s=watch.samples / watch.elapsed_s,
            tokens_per_s=watch.tokens / watch.elapsed_s,
            data_wait_share=watch.wait_share(wait_s),
            mfu=None if peak is None else operations / watch.elapsed_s / peak,
            memory_mb=peak_memory_bytes(on_gpu=self._on_gpu) / 1e6,
            rtd_loss=window.rtd_loss if self._detects else None,
        )
        self._record = record
        if self._tells:
            log_line.say(record.line())
            log_line.append_metrics(self._folder, record.to_json())
            self._observers.note("train", state.step, record.to_json())
        watch.restart(wait_s)

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """Report an evaluation."""
        self._evaluation = evaluation
        if self._tells:
            log_line.say(evaluation.line(step))
            log_line.append_metrics(self._folder, {"step": step, "eval": evaluation.to_json()})
            self._observers.note("eval", step, evaluation.to_json())

    def figures(self, state: TrainState, *, steps: int, elapsed_s: float, wait_s: float) -> dict[str, Any]:
        """Return the figures of a call of training that ends in `state`, `steps` after it began."""
        figures: dict[str, Any] = {
            "step": state.step,
            "samples_seen": state.samples_seen,
            "skipped_updates": state.scaler.skipped_steps,
            "rollbacks": state.rollbacks,
            "elapsed_s": round(elapsed_s, 3),
            "data_wait_share": round(wait_s / max(elapsed_s, 1e-9), 5),
            "steps_per_s": round(steps / max(elapsed_s, 1e-9), 4),
        }
        if self._record is not None:
            record = self._record.to_json()
            figures |= {n: record[n] for n in ("loss", "lm_loss", "sop_loss", "rtd_loss", "tokens_per_s") if n in record}
        if self._evaluation is not None:
            figures["eval"] = self._evaluation.to_json()
        if state.best_evaluation is not None:
            figures["best"] = dict(state.best_evaluation)
        return figures

    def close(self) -> None:
        """Write out what is held back, and take the bar away."""
        self._observers.close()
