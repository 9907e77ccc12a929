"""The settings of one fine-tuning: checked before anything is read, written into the score row."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from finetune.batches import steps_per_epoch
from pretrain.schedule import Schedule
from shards.errors import UsageError, unknown_name

LR_SCHEDULES = ("linear", "cosine", "constant")
POOLINGS = ("cls", "mean")
AMP_LEVELS = ("off", "O1")
_COUNTS = (
    "epochs", "batch_size", "max_seq_len", "patience", "eval_steps", "max_train_rows", "max_dev_rows", "length_window",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides a score beside starting weights, data and seed.

    epochs, batch_size: passes over the rows, rows of one update. max_seq_len: tokens, with the special ones.
    learning_rate: its highest value, reached after the share `warmup` of all steps; lr_schedule: what follows, down to 0 or not.
    layer_decay: the learning rate of each layer over that of the layer above it (1: all the same), as ELECTRA has it.
    weight_decay: of matrices. grad_clip: the largest norm of all gradients (0: no clipping). label_smoothing: the share of a
    label's weight that is spread over all classes. dropout: before the head; encoder_dropout: inside the encoder (None: as it was
    pretrained). pooling: what stands for a row, "cls" or "mean".
    patience: evaluations without a better one after which training stops (None: it never stops early).
    eval_steps: steps between evaluations (None: each epoch's end). max_train_rows, max_dev_rows: rows to train on, rows of each
    set to score (None: all).
    length_window: batches among which rows are sorted by length, so that rows of a batch need little padding (1: not sorted).
    amp: "O1" computes matrix products in bfloat16 on a GPU.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    max_seq_len: int = 128
    lr_schedule: str = "linear"
    warmup: float = 0.1
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = 0.1
    encoder_dropout: float | None = None
    pooling: str = "cls"
    patience: int | None = None
    eval_steps: int | None = None
    max_train_rows: int | None = None
    max_dev_rows: int | None = None
    length_window: int = 16
    amp: str = "off"

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_flag(name)} must be at least 1, got {value}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0.0):
            raise UsageError(f"--learning-rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.warmup <= 1.0:
            raise UsageError(f"--warmup is a share of all steps, from 0 to 1, got {self.warmup}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise UsageError(f"--layer-decay is a factor above 0 and at most 1, got {self.layer_decay}")
        for name in ("weight_decay", "grad_clip"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0.0):
                raise UsageError(f"{_flag(name)} must be 0 or more, got {value}")
        for name in ("label_smoothing", "dropout", "encoder_dropout"):
            if (value := getattr(self, name)) is not None and not 0.0 <= value < 1.0:
                raise UsageError(f"{_flag(name)} must be from 0 to below 1, got {value}")
        for name, known in (("lr_schedule", LR_SCHEDULES), ("pooling", POOLINGS), ("amp", AMP_LEVELS)):
            if getattr(self, name) not in known:
                raise unknown_name(_flag(name), str(getattr(self, name)), known)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values; what limits the dev rows is there only where they are limited."""
        values = dataclasses.asdict(self)
        if self.max_dev_rows is None:
            del values["max_dev_rows"]
        return values

    def schedule(self, rows: int) -> Schedule:
        """Return the learning rate over all epochs of `rows` rows."""
        steps = steps_per_epoch(rows, self.batch_size) * self.epochs
        return Schedule(
            kind=self.lr_schedule,
            max_lr=self.learning_rate,
            min_lr=0.0,
            warmup_steps=math.floor(self.warmup * steps),
            max_steps=steps,
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
