"""The settings of one fine-tuning: checked before anything is read, written into the score row."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from finetune.batches import steps_per_epoch
from pretrain.schedule import Schedule
from shards.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides a score beside checkpoint, data and seed.

    `batch_size` in rows, `max_seq_len` in tokens with the special ones, `warmup` as a share of all steps, `eval_steps` None:
    at the end of each epoch; `max_train_rows` None: all of them.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    max_seq_len: int = 128
    warmup: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    grad_clip: float = 1.0
    eval_steps: int | None = None
    max_train_rows: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_seq_len", "eval_steps", "max_train_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_flag(name)} must be at least 1, got {value}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0.0):
            raise UsageError(f"--learning-rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.warmup <= 1.0:
            raise UsageError(f"--warmup is a share of all steps, from 0 to 1, got {self.warmup}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0.0):
            raise UsageError(f"--weight-decay must be 0 or more, got {self.weight_decay}")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def schedule(self, rows: int) -> Schedule:
        """Return the learning rate over all epochs of `rows` rows."""
        steps = steps_per_epoch(rows, self.batch_size) * self.epochs
        return Schedule(
            kind="linear", max_lr=self.learning_rate, min_lr=0.0, warmup_steps=math.floor(self.warmup * steps), max_steps=steps
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
