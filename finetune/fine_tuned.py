"""A fine-tuned model taken from its score row, to predict rows nobody has labelled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.batches import scoring_batches
from finetune.encode import EncodedRows, encode
from finetune.initial import resolve_fine_tuned
from finetune.job import tokenizer_of
from finetune.settings import Settings
from finetune.task import Examples, Task
from pipeline.tokenizer import Tokenizer
from pretrain.checkpoint import SavedModel

_ROWS = 128  # of one forward pass


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """Network, tokenizer and task of a fine-tuned checkpoint, every byte of it checked."""

    saved: SavedModel
    tokenizer: Tokenizer
    task: Task
    settings: Settings

    @classmethod
    def load(cls, path: str | Path) -> FineTuned:
        """Read a score row's folder, its score.json or the model beside it. Raises as `resolve_fine_tuned` does."""
        saved, state = resolve_fine_tuned(path)
        kind = str(state["task_kind"])
        task = Task(
            name=str(state["task"]), kind=kind, texts=tuple(state["texts"]), labels=tuple(state["labels"]),
            score_range=(-math.inf, math.inf) if kind == "score" else None,
        )  # fmt: skip
        return cls(saved=saved, tokenizer=tokenizer_of(saved), task=task, settings=Settings(**state["settings"]))

    def encode(self, examples: Examples) -> EncodedRows:
        return encode(examples, self.tokenizer, max_seq_len=self.settings.max_seq_len, regression=self.task.is_regression)

    def outputs(self, rows: EncodedRows) -> npt.NDArray[np.float32]:
        """Return the outputs of all rows, [targets, C]: logits, or scores in one column. Call `environment.start` before."""
        import paddle

        from finetune.targets import new_network, predict, width
        from pretrain.weights import load_into

        network: Any = new_network(self.task, self.saved.config, self.settings)
        load_into(network, self.saved.weights(), where=self.saved.path)
        network.eval()
        outputs = np.zeros((rows.targets, width(self.task)), dtype=np.float32)
        with paddle.no_grad():
            for batch in scoring_batches(rows, batch_size=_ROWS, pad_id=self.saved.config.pad_id):
                outputs[batch.targets_N] = predict(network, batch, self.task, self.settings).numpy()
        return outputs
