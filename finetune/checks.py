"""What can be wrong with rows that were read without a fault: found before any training, named by file, row and column."""

from __future__ import annotations

from finetune.errors import TaskDataError
from finetune.task import Examples, Task
from finetune.tsv import Table


def require_text(task: Task, table: Table) -> None:
    """Raise TaskDataError when a text column holds nothing but numbers: columns were mixed up."""
    for column in range(len(task.texts)):
        if all(_is_number(text) for text in table.columns[column]):
            raise TaskDataError(
                f"the text column {task.texts[column]!r} holds only numbers", where=table.place(column, 0), expected="text",
                got=repr(table.columns[column][0][:80]), hint="Were the columns mixed up?",
            )  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def require_some_labels(task: Task, table: Table, labels: list[int] | list[float]) -> None:
    """Raise TaskDataError when there is nothing to learn: all training rows have one label."""
    if len(set(labels)) < 2:
        column = len(task.texts)
        raise TaskDataError(
            f"every training row of {task.name} has the same label: there is nothing to learn",
            where=table.place(column, 0), got=repr(table.columns[column][0][:80]),
        )  # fmt: skip


def require_few_labels(task: Task, table: Table) -> None:
    """Raise TaskDataError when labels taken from the training rows are almost as many as the rows."""
    rows, column = len(table.rows), len(task.texts)
    if rows >= 20 and len(task.labels) > rows / 2:
        raise TaskDataError(
            f"column {task.label!r} has {len(task.labels):,} different labels in {rows:,} rows", where=table.place(column, 0),
            got=repr(table.columns[column][0][:80]), hint="Is it the label's column? Numbers to be predicted want --kind score",
        )  # fmt: skip


def require_same_labels(task: Task, train: Table, dev: Table) -> None:
    """Raise TaskDataError, naming a row, when training and dev rows do not have the same set of labels."""
    column = len(task.texts)
    known, seen = set(train.columns[column]), set(dev.columns[column])
    for table, lacking, which in (
        (dev, seen - known, "the training rows have no"),
        (train, known - seen, "the dev rows have no"),
    ):
        if lacking:
            index = next(i for i, text in enumerate(table.columns[column]) if text in lacking)
            raise TaskDataError(
                f"the labels of training and dev rows differ: {which} {', '.join(sorted(lacking)[:8])}",
                where=table.place(column, index), expected=f"{len(known)} labels in both", got=f"{len(seen)} in the dev rows",
                hint="If that is right, name all labels (finetune.text: --labels A,B,…)",
            )  # fmt: skip


def repeated(train: Examples, dev: Examples) -> list[int]:
    """Return the dev rows whose texts, all of them, are those of a training row."""
    known = set(zip(*train.texts, strict=True))
    return [i for i, texts in enumerate(zip(*dev.texts, strict=True)) if texts in known]
