"""The line that training prints, and its twin in metrics.jsonl.

The line is, character for character, that of PaddleNLP's pretraining scripts, so that tools made for their logs read ours;
what they did not print follows behind. metrics.jsonl holds one JSON object a logging step (and one, with the key ``eval``, an
evaluation). On resume it is cut back to the checkpoint's step, so that each step is there once.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pretrain.step_records import METRICS as METRICS
from pretrain.step_records import append_record, cut_records, read_records

# What a record says of the machine and its clock; all else in it is a function of data, options and step.
MEASURED = ("steps_per_s", "samples_per_s", "tokens_per_s", "data_wait_share", "memory_mb", "mfu")


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One log line. Losses are token-weighted means over the window since the last line and over all ranks.

    data_wait_share: part of the window's wall-clock time in which training waited for a batch, in [0, 1]. memory_mb: the most
    that the first rank has held so far, in 10⁶ bytes; mfu: see `pretrain.utilisation`, None where the peak is not known.
    rtd_loss: None, and nowhere to be seen, unless replaced tokens are to be detected.
    """

    step: int
    loss: float
    lm_loss: float
    sop_loss: float
    lr: float
    loss_scaling: float
    num_good_steps: int
    num_bad_steps: int
    steps_per_s: float
    samples_per_s: float
    tokens_per_s: float
    data_wait_share: float
    memory_mb: float
    mfu: float | None = None
    rtd_loss: float | None = None

    def line(self) -> str:
        """Return the line without its time stamp."""
        return (
            (
                f"global step {self.step}, loss: {self.loss:.9f}, lm_loss: {self.lm_loss:.6f}, sop_loss: {self.sop_loss:.6f}, "
                f"speed: {self.steps_per_s:.2f} steps/s, ips: {self.samples_per_s:.2f} seqs/s, learning rate: {self.lr:.5e}, "
                f"loss_scaling: {self.loss_scaling}, num_good_steps: {self.num_good_steps}, num_bad_steps: {self.num_bad_steps}, "
                f"tokens_per_s: {self.tokens_per_s:.0f}, data_wait: {100 * self.data_wait_share:.1f}%, "
                f"memory: {self.memory_mb:.0f} MB"
            )
            + self._mfu()
            + ("" if self.rtd_loss is None else f", rtd_loss: {self.rtd_loss:.6f}")
        )

    def _mfu(self) -> str:
        return "" if self.mfu is None else f", mfu: {100 * self.mfu:.1f}%"

    def to_json(self) -> dict[str, Any]:
        """Return the record for metrics.jsonl. A loss that is not finite (no step of the window had one) is null there."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}


def stamped(text: str, when: datetime) -> str:
    """Return `text` behind the time stamp and level of the log format."""
    return f"[{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03d}] [    INFO] - {text}"


def say(text: str) -> None:
    """Print a line of the log, with the time, at once."""
    from tqdm import tqdm

    tqdm.write(stamped(text, datetime.now()), file=sys.stdout)  # which keeps a bar on the same terminal out of the line
    sys.stdout.flush()


def append_metrics(run: Path, record: dict[str, Any]) -> None:
    append_record(run / METRICS, record)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run; a last line that a killed process left half-written is passed over."""
    return read_records(run / METRICS)


def cut_metrics(run: Path, step: int) -> None:
    """Drop the records that come after `step`, and everything from the first line that cannot be read."""
    cut_records(run / METRICS, step)
