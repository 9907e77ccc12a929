"""Predictions of test rows in the files that GLUE's and CLUE's servers take.

GLUE: a TSV with the header ``index	prediction``; labels by name, STS-B's scores within 0 to 5, three decimals.
CLUE: JSON lines ``{"id": …, "label": "…"}``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finetune.task import Examples, Split, Task, TaskInput
from shards.durable import commit_bytes


def write_submissions(folder: Path, data: TaskInput, *, device: str) -> list[Path]:
    """Predict every set of test rows with the model of a score row's folder, write the files there, and return them."""
    from finetune.fine_tuned import FineTuned
    from pretrain.environment import start

    start(device)
    model, paths = FineTuned.load(folder), []
    for split in data.task.tests:
        if split.name in data.tests:
            examples = data.tests[split.name]
            outputs = model.outputs(model.encode(examples))
            path = folder / split.submission
            commit_bytes(path, submission(data.task, split, examples, outputs))
            print(f"{len(examples):,} test rows predicted: {path}")
            paths.append(path)
    return paths


def submission(task: Task, split: Split, examples: Examples, outputs: npt.NDArray[np.float32]) -> bytes:
    """Return the bytes of a submission file: a line a test row, named by its id, or by its number from 0 where it has none."""
    ids = examples.ids or [str(number) for number in range(len(examples))]
    answers = _answers(task, outputs)
    if split.submission.endswith(".json"):
        rows = (
            {"id": int(id) if id.isascii() and id.isdigit() else id, "label": answer}
            for id, answer in zip(ids, answers, strict=True)
        )
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    lines = [f"{id}\t{answer}\n" for id, answer in zip(ids, answers, strict=True)]
    return "".join(["index\tprediction\n", *lines]).encode()


def _answers(task: Task, outputs: npt.NDArray[np.float32]) -> list[str]:
    if task.score_range is not None:
        low, high = task.score_range
        return [f"{score:.3f}" for score in np.clip(outputs[:, 0], low, high).tolist()]
    return [task.labels[number] for number in np.argmax(outputs, axis=1).tolist()]
