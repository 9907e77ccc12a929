"""The GLUE tasks: files and columns, labels, metrics, and the settings each is usually run with.

Files and columns are those of the archives of gluebenchmark.com. Metrics are the ones of the GLUE paper (Wang et al., ICLR
2019, table 1), in this order; the first chooses the best evaluation.

Default settings suit the encoders this project trains, which are small: batch 32, warm-up over a tenth, 3 epochs, but 10 on
RTE and STS-B, as ELECTRA (Clark et al., ICLR 2020, appendix B) and its successors of that size use. Learning rate 1e-4, which
the published ConvBERT-small scores on all eight tasks were made with (batch 256 there); base-size models want 2e-5 to 5e-5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.tsv import Table, read_table
from shards.canonical import fingerprint
from shards.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Task:
    """What fine-tuning has to know of a task.

    `labels` are the class names in class order; none: a regression on scores within `score_range`. `columns` names the fields
    of files without header. `max_defects` rows a file may be broken (left out, counted and shown). `other_dev` is a second dev
    set, (name, file), scored at the end when it is there.
    """

    name: str
    texts: tuple[str, ...]
    label: str = "label"
    labels: tuple[str, ...] = ("0", "1")
    score_range: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ("acc",)
    columns: tuple[str, ...] | None = None
    train_file: str = "train.tsv"
    dev_file: str = "dev.tsv"
    other_dev: tuple[str, str] | None = None
    max_defects: int = 0
    hub_config: str
    hub_texts: tuple[str, ...] | None = None
    hub_dev: str = "validation"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        if (len(self.labels) < 2) == (self.score_range is None):
            raise ValueError(f"task {self.name}: two labels or more, or else a score range; got {self.labels}")
        if len(self.texts) not in (1, 2):
            raise ValueError(f"task {self.name}: one text column or two, got {self.texts}")

    @property
    def is_regression(self) -> bool:
        return self.score_range is not None

    @property
    def outputs(self) -> int:
        """Width of the head: the number of classes, or 1."""
        return len(self.labels) or 1


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Rows of a task: texts_a[i] (and texts_b[i], for pairs) with labels[i], a class index or a score."""

    texts_a: list[str]
    texts_b: list[str] | None
    labels: list[int] | list[float]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> Examples:
        """Return the rows at `indices`, in that order."""
        return Examples(
            texts_a=[self.texts_a[i] for i in indices],
            texts_b=None if self.texts_b is None else [self.texts_b[i] for i in indices],
            labels=[self.labels[i] for i in indices],
        )


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """All rows of a task.

    `files` maps each file's name to its sha256; `fingerprint` is the sha256 of that map. `notes` say what was found, where, and
    what was left out.
    """

    train: Examples
    dev: Examples
    other_dev: Examples | None
    files: dict[str, str]
    notes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.files)


_ENTAILMENT = ("entailment", "not_entailment")
_ALL = (
    Task(
        name="CoLA",
        texts=("sentence",),
        columns=("source", "label", "annotation", "sentence"),
        metrics=("mcc",),
        hub_config="cola",
    ),
    Task(name="SST-2", texts=("sentence",), hub_config="sst2"),
    Task(
        name="MRPC",
        texts=("#1 String", "#2 String"),
        label="Quality",
        metrics=("acc", "f1"),
        hub_config="mrpc",
        hub_texts=("sentence1", "sentence2"),
    ),
    Task(
        name="STS-B",
        texts=("sentence1", "sentence2"),
        label="score",
        labels=(),
        score_range=(0.0, 5.0),
        metrics=("pearson", "spearman"),
        hub_config="stsb",
        epochs=10,
    ),
    Task(
        name="QQP",
        texts=("question1", "question2"),
        label="is_duplicate",
        metrics=("acc", "f1"),
        hub_config="qqp",
        # Some questions of the official file contain line ends, which cut their rows in two, and a few are empty
        # (nyu-mll/GLUE-baselines issue 5); the common loaders leave these rows out.
        max_defects=100,
    ),
    Task(
        name="MNLI",
        texts=("sentence1", "sentence2"),
        label="gold_label",
        labels=("entailment", "neutral", "contradiction"),
        dev_file="dev_matched.tsv",
        other_dev=("mismatched", "dev_mismatched.tsv"),
        hub_config="mnli",
        hub_texts=("premise", "hypothesis"),
        hub_dev="validation_matched",
    ),
    Task(name="QNLI", texts=("question", "sentence"), labels=_ENTAILMENT, hub_config="qnli"),
    Task(name="RTE", texts=("sentence1", "sentence2"), labels=_ENTAILMENT, hub_config="rte", epochs=10),
)
TASKS = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """Return the task of this name, whatever its case. Raises UsageError, with the nearest known name."""
    for task in _ALL:
        if task.name.lower() == name.lower():
            return task
    raise unknown_name("task", name, TASKS)


def read_examples(task: Task, path: Path) -> tuple[Examples, Table]:
    """Read one file of a task; the table tells the file's hash and the rows left out.

    Raises NotFoundError, or TaskDataError with file:row:column.
    """
    table = read_table(path, wanted=(*task.texts, task.label), names=task.columns, max_defects=task.max_defects)
    labels: list[float] = []
    for index, text in enumerate(table.columns[-1]):
        label = parse_label(task, text)
        if label is None:
            raise TaskDataError(
                f"column {task.label!r} of {task.name} does not hold a label",
                where=table.place(len(task.texts), index),
                expected=_label_forms(task),
                got=repr(text[:80]),
            )
        labels.append(label)
    texts_b = table.columns[1] if len(task.texts) == 2 else None
    return Examples(texts_a=table.columns[0], texts_b=texts_b, labels=labels), table


def parse_label(task: Task, text: str) -> int | float | None:
    """Return the class index or the score that `text` stands for, None when it stands for nothing."""
    if task.score_range is None:
        return task.labels.index(text) if text in task.labels else None
    try:
        score = float(text)
    except ValueError:
        return None
    low, high = task.score_range
    return score if math.isfinite(score) and low <= score <= high else None


def _label_forms(task: Task) -> str:
    if task.score_range is not None:
        return f"a number from {task.score_range[0]:g} to {task.score_range[1]:g}"
    return "one of " + ", ".join(task.labels)
