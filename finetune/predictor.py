"""A fine-tuned model at work: rows in, labels and probabilities out. Everything it needs stands in its checkpoint.

Imports paddle when the first row is predicted, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.batches import scoring_batches
from finetune.encode import EncodedRows, encode
from finetune.initial import resolve_fine_tuned
from finetune.job import tokenizer_of
from finetune.metrics import predicted_tags, softmax, sure_of_words
from finetune.settings import Settings
from finetune.tags import entities
from finetune.task import Examples, TaggedWords, Task
from pretrain.environment import start as start_paddle
from pretrain.errors import CheckpointError

_CHOICES = ("B", "C")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of one row.

    label: the likeliest label, None for a score or for tags. probabilities: of every label, they sum to 1 (of a choice, of the
    texts B and C being the closer one). score: of a task of scores. entities: of a tagging task, as {type, text, begin, end,
    probability}, [begin, end) in characters; the probability is that of the word it is least sure of.
    """

    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    score: float | None = None
    entities: tuple[Mapping[str, Any], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        shown = {
            "label": self.label, "probabilities": self.probabilities, "score": self.score,
            "entities": None if self.entities is None else list(self.entities),
        }  # fmt: skip
        return {name: value for name, value in shown.items() if value is not None}


class Predictor:
    """The model of a score row, ready to predict."""

    def __init__(self, given: str | Path, *, batch_size: int = 64) -> None:
        """Check every byte of the checkpoint; see `initial.resolve_fine_tuned` for `given` and errors."""
        self.saved, state = resolve_fine_tuned(given)
        try:
            # Amp is for training; a prediction is the same whatever the device.
            self._settings = replace(Settings(**state["settings"]), batch_size=batch_size, amp="off")
            self.task = Task(
                name=str(state["task"]), kind=str(state["task_kind"]), texts=tuple(state["texts"]), labels=tuple(state["labels"]),
                score_range=(-np.inf, np.inf) if state["task_kind"] == "score" else None,
            )  # fmt: skip
            self.seed = int(state["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"state.json does not describe the task: {error!r}", where=self.saved.path,
                hint="Was it fine-tuned with an older version? Train it again",
            ) from None  # fmt: skip
        self._tokenizer = tokenizer_of(self.saved)
        self._network: Any = None

    def predict(self, examples: Examples, *, device: str = "auto") -> list[Prediction]:
        """Return a prediction of each row; labels of the examples are not looked at."""
        if self.task.kind == "tags":
            examples = replace(examples, words=[_words_of(text) for text in examples.texts_a])
        rows = encode(examples, self._tokenizer, max_seq_len=self._settings.max_seq_len)
        outputs = self.outputs(rows, device=device)
        if rows.words is not None and examples.words is not None:
            return self._tagged(examples.texts_a, examples.words, rows, outputs)
        if self.task.kind == "score":
            return [Prediction(score=float(value)) for value in outputs[:, 0]]
        names = _CHOICES if self.task.kind == "choice" else self.task.labels
        return [
            Prediction(label=names[int(row.argmax())], probabilities=dict(zip(names, row.tolist(), strict=True)))
            for row in softmax(outputs)
        ]

    def outputs(self, rows: EncodedRows, *, device: str = "auto") -> npt.NDArray[np.float32]:
        """Return the head's outputs of encoded rows, [targets, C]."""
        start_paddle(device)
        import paddle

        from finetune.targets import new_network, predict, width
        from pretrain.weights import load_into

        if self._network is None:
            self._network = new_network(self.task, self.saved.config, self._settings)
            load_into(self._network, self.saved.weights(), where=self.saved.path)
            self._network.eval()
        outputs = np.zeros((rows.targets, width(self.task)), dtype=np.float32)
        with paddle.no_grad():
            for batch in scoring_batches(rows, batch_size=self._settings.batch_size, pad_id=self.saved.config.pad_id):
                outputs[batch.targets_N] = predict(self._network, batch, self.task, self._settings).numpy()
        return outputs

    def _tagged(
        self, texts: list[str], words: list[TaggedWords], rows: EncodedRows, outputs: npt.NDArray[np.float32]
    ) -> list[Prediction]:
        assert rows.words is not None
        tags = predicted_tags(np.argmax(outputs, axis=1).astype(np.int64), rows.words, self.task.labels)
        sure = sure_of_words(outputs, rows.words)
        found, first = [], 0
        for text, row in zip(texts, words, strict=True):
            of_row = entities(tags[first : first + len(row.begins)])
            shown = []
            for kind, begin, end in of_row:
                place, behind = row.begins[begin], row.ends[end - 1]
                shown.append(
                    {
                        "type": kind, "text": text[place:behind], "begin": place, "end": behind,
                        "probability": float(sure[first + begin : first + end].min()),
                    }
                )  # fmt: skip
            first += len(row.begins)
            found.append(Prediction(entities=tuple(shown)))
        return found


def _words_of(text: str) -> TaggedWords:
    """Return the words to tag: those between spaces, or else every character (Chinese has no spaces)."""
    spans: list[tuple[int, int]] = []
    if " " in text.strip():
        end = 0
        for word in text.split():
            begin = text.index(word, end)
            end = begin + len(word)
            spans.append((begin, end))
    else:
        spans = [(place, place + 1) for place, character in enumerate(text) if not character.isspace()]
    return TaggedWords(begins=tuple(b for b, _ in spans), ends=tuple(e for _, e in spans), tags=(0,) * len(spans))
