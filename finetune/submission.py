"""Predictions of test rows in the files that GLUE's and CLUE's servers take.

GLUE: a TSV with the header ``index	prediction``; labels by name, STS-B's scores within 0 to 5, three decimals.
CLUE: JSON lines ``{"id": …, "label": "…"}``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.task import Examples, Split, Task, TaskInput
from shards.durable import commit_bytes

if TYPE_CHECKING:
    from finetune.predictor import Prediction


def write_submissions(folder: Path, data: TaskInput, *, device: str) -> list[Path]:
    """Predict every set of test rows with the model of a score row's folder, write the files there, and return them."""
    from finetune.predictor import Predictor

    predictor, paths = Predictor(folder), []
    for split in data.task.tests:
        if split.name in data.tests:
            examples = data.tests[split.name]
            path = folder / split.submission
            commit_bytes(path, submission(data.task, split, examples, predictor.predict(examples, device=device)))
            print(f"{len(examples):,} test rows predicted: {path}")
            paths.append(path)
    return paths


def submission(task: Task, split: Split, examples: Examples, predictions: Sequence[Prediction]) -> bytes:
    """Return the bytes of a submission file: a line a test row, named by its id, or by its number from 0 where it has none."""
    ids = examples.ids or [str(number) for number in range(len(examples))]
    answers = [_answer(task, prediction) for prediction in predictions]
    if split.submission.endswith(".json"):
        rows = (
            {"id": int(id) if id.isascii() and id.isdigit() else id, "label": answer}
            for id, answer in zip(ids, answers, strict=True)
        )
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    lines = [f"{id}\t{answer}\n" for id, answer in zip(ids, answers, strict=True)]
    return "".join(["index\tprediction\n", *lines]).encode()


def _answer(task: Task, prediction: Prediction) -> str:
    if task.score_range is not None and prediction.score is not None:
        low, high = task.score_range
        return f"{min(max(prediction.score, low), high):.3f}"
    return str(prediction.label)
