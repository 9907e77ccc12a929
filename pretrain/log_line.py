"""The line that training prints, and its twin in metrics.jsonl.

The line is, character for character, that of PaddleNLP's pretraining scripts, so that tools made for their logs read ours;
what they did not print follows behind. metrics.jsonl holds one JSON object a logging step (and one, with the key ``eval``, an
evaluation). On resume it is cut back to the checkpoint's step, so that each step is there once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shards.durable import append_line, truncate

METRICS = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One log line. Losses are token-weighted means over the window since the last line and over all ranks.

    data_wait_share: part of the window's wall-clock time in which training waited for a batch, in [0, 1]. rtd_loss: None, and
    nowhere to be seen, unless replaced tokens are to be detected.
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
    rtd_loss: float | None = None

    def line(self) -> str:
        """Return the line without its time stamp."""
        return (
            f"global step {self.step}, loss: {self.loss:.9f}, lm_loss: {self.lm_loss:.6f}, sop_loss: {self.sop_loss:.6f}, "
            f"speed: {self.steps_per_s:.2f} steps/s, ips: {self.samples_per_s:.2f} seqs/s, learning rate: {self.lr:.5e}, "
            f"loss_scaling: {self.loss_scaling}, num_good_steps: {self.num_good_steps}, num_bad_steps: {self.num_bad_steps}, "
            f"tokens_per_s: {self.tokens_per_s:.0f}, data_wait: {100 * self.data_wait_share:.1f}%"
        ) + ("" if self.rtd_loss is None else f", rtd_loss: {self.rtd_loss:.6f}")

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def stamped(text: str, when: datetime) -> str:
    """Return `text` behind the time stamp and level of the log format."""
    return f"[{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03d}] [    INFO] - {text}"


def say(text: str) -> None:
    """Print a line of the log, with the time, at once."""
    print(stamped(text, datetime.now()), flush=True)


def append_metrics(run: Path, record: dict[str, Any]) -> None:
    append_line(run / METRICS, json.dumps(record, sort_keys=True, allow_nan=False))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run; a last line that a killed process left half-written is passed over."""
    path = run / METRICS
    if not path.is_file():
        return []
    return [record for line in path.read_bytes().splitlines(keepends=True) if (record := _parse(line)) is not None]


def cut_metrics(run: Path, step: int) -> None:
    """Drop the records that come after `step`, and everything from the first line that cannot be read."""
    path = run / METRICS
    if not path.is_file():
        return
    kept = 0
    for line in path.read_bytes().splitlines(keepends=True):
        record = _parse(line)
        if record is None or record["step"] > step:
            break
        kept += len(line)
    truncate(path, kept)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None
