"""From a task's file to its rows: which reader its layout wants, and what its labels stand for."""

from __future__ import annotations

import math
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.json_lines import read_json_lines
from finetune.task import Examples, Split, Task
from finetune.tsv import Table, header_of, read_table


def read_examples(task: Task, path: Path, split: Split | None = None, *, labelled: bool = True) -> tuple[Examples, Table]:
    """Read one file of a task; the table tells the file's hash and the rows left out.

    `split` says what differs from the task's training files. Rows to be predicted (not `labelled`) get the ids their file
    holds. Raises NotFoundError, or TaskDataError with file:row:column.
    """
    return examples_of(task, read_split(task, path, split, labelled=labelled), split, labelled=labelled)


def read_split(task: Task, path: Path, split: Split | None = None, *, labelled: bool = True) -> Table:
    """Read the columns that a task needs of one file: texts, then the label (or else the id, where there is one)."""
    texts = task.texts if split is None or split.texts is None else split.texts
    wanted = (*texts, _label_column(task, split)) if labelled else texts
    optional = () if labelled or task.id is None else (task.id,)
    if task.layout == "json":
        return read_json_lines(path, wanted=wanted, optional=optional, rewrite=task.rewrite, max_defects=task.max_defects)
    names = task.columns if split is None or split.columns is None else split.columns or None
    if optional and (names is not None or optional[0] not in header_of(path)):
        optional = ()
    # A submission has a line for every row, also for those few of QQP that ask nothing.
    return read_table(
        path, wanted=(*wanted, *optional), names=names, tabs_in_last=task.tabs_in_last,
        max_defects=task.max_defects if labelled else 0, may_be_empty=not labelled,
    )  # fmt: skip


def examples_of(task: Task, table: Table, split: Split | None = None, *, labelled: bool = True) -> tuple[Examples, Table]:
    """Return a table's rows as examples, and the table without the rows that carry the task's sign for "no label"."""
    width = len(task.texts)
    if not labelled:
        ids = table.columns[width] if len(table.columns) > width else None
        return _examples(table, width, [], ids), table
    if task.unlabelled is not None and task.unlabelled in table.columns[width]:
        table = table.take([i for i, text in enumerate(table.columns[width]) if text != task.unlabelled])
    labels: list[float] = []
    for index, text in enumerate(table.columns[width]):
        label = parse_label(task, text)
        if label is None:
            raise TaskDataError(
                f"column {_label_column(task, split)!r} of {task.name} does not hold a label",
                where=table.place(width, index),
                expected=_label_forms(task),
                got=repr(text[:80]),
            )
        labels.append(label)
    return _examples(table, width, labels, None), table


def _examples(table: Table, width: int, labels: list[float], ids: list[str] | None) -> Examples:
    texts = [table.columns[i] if i < width else None for i in range(3)]
    assert texts[0] is not None
    return Examples(texts_a=texts[0], texts_b=texts[1], texts_c=texts[2], labels=labels, ids=ids)


def _label_column(task: Task, split: Split | None) -> str:
    return task.label if split is None or split.label is None else split.label


def parse_label(task: Task, text: str) -> int | float | None:
    """Return the class index or the score that `text` stands for, None when it stands for nothing."""
    if task.label_file is not None:  # numbers from 0, of the names in that file
        return int(text) if text.isascii() and text.isdigit() and int(text) < len(task.labels) else None
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
        low, high = task.score_range
        return "a number" if math.isinf(low) and math.isinf(high) else f"a number from {low:g} to {high:g}"
    if task.label_file is not None:
        return f"a number from 0 to {len(task.labels) - 1}, a line of {task.label_file}"
    shown = ", ".join(task.labels[:20])
    return f"one of {shown}" + (f", … ({len(task.labels)} in all)" if len(task.labels) > 20 else "")


def with_labels_of(task: Task, table: Table) -> Task:
    """Return the task with the labels that its training rows hold, in the order of their code points (numbers by value)."""
    found = set(table.columns[len(task.texts)])
    numeric = all(text.isascii() and text.isdigit() for text in found)
    return task.with_labels(sorted(found, key=lambda text: (int(text) if numeric else 0, text)))
