"""All files of a task, read, checked and hashed into one `TaskInput`."""

from __future__ import annotations

from pathlib import Path

from finetune import checks
from finetune.errors import TaskDataError
from finetune.read import examples_of, read_split, with_labels_of
from finetune.task import Examples, Split, Task, TaskInput
from finetune.tsv import Table


class Gathering:
    """Reads one file after another; `done` returns what came together.

    `labels_from_rows`: the task has no labels of its own, and training and dev rows have to agree on theirs.
    """

    def __init__(self, task: Task, note: str) -> None:
        self._task, self._notes = task, [note]
        self._files: dict[str, str] = {}
        self._tally: dict[str, int] = {}
        self._other: dict[str, Examples] = {}
        self._tests: dict[str, Examples] = {}

    def note(self, text: str) -> None:
        self._notes.append(text)

    def count(self, what: str, number: int) -> None:
        self._tally[what] = self._tally.get(what, 0) + number

    def read_training(self, train: Path, dev: Path) -> None:
        """Read training and dev rows. Raises NotFoundError, TaskDataError."""
        self.take_training(self._table(train, None), self._table(dev, self._task.dev))

    def take_training(self, train: Table, dev: Table) -> None:
        """Take training and dev rows that were read elsewhere."""
        for table in (train, dev):
            checks.require_text(self._task, table)
        derived = self._task.kind == "classes" and not self._task.labels
        if derived:
            train, dev = self._labelled(train), self._labelled(dev)
            self._task = with_labels_of(self._task, train)
            checks.require_few_labels(self._task, train)
            checks.require_same_labels(self._task, train, dev)
        self._train, train = self._examples(train, None)
        checks.require_some_labels(self._task, train, self._train.labels)
        self._dev, dev = self._examples(dev, self._task.dev)
        again = checks.repeated(self._train, self._dev)
        if again:
            self.count("dev_rows_in_train", len(again))
            self.note(
                f"warning: {len(again):,} of {len(self._dev):,} dev rows are training rows too, the first at "
                f"{dev.place(0, again[0])}: the score flatters"
            )

    def read_other(self, split: Split, path: Path) -> None:
        """Read a further set of rows that are scored."""
        self._other[split.name] = self._examples(self._table(path, split), split)[0]

    def take_other(self, split: Split, table: Table) -> None:
        self._other[split.name] = self._examples(table, split)[0]

    def read_test(self, split: Split, path: Path) -> None:
        """Read rows to be predicted; they are no part of the data's fingerprint, since no score depends on them."""
        table = read_split(self._task, path, split, labelled=False)
        self._tests[split.name] = examples_of(self._task, table, split, labelled=False)[0]

    def record(self, name: str, value: str) -> None:
        """Make `value` a part of the data's fingerprint: it decides what the rows are, as their bytes do."""
        self._files[name] = value

    def table_read(self, table: Table) -> None:
        """Take note of a table's hash and of the rows left out of it."""
        name = table.path.name
        self._files[name if name not in self._files else str(table.path)] = table.sha256
        if table.defects:
            self.count("broken_rows", len(table.defects))
            self.note(f"left out {len(table.defects)} broken rows of {name}, the first at {table.defects[0]}")

    def _table(self, path: Path, split: Split | None) -> Table:
        table = read_split(self._task, path, split)
        self.table_read(table)
        return table

    def _labelled(self, table: Table) -> Table:
        column, sign = table.columns[len(self._task.texts)], self._task.unlabelled
        return table if sign not in column else table.take([i for i, text in enumerate(column) if text != sign])

    def _examples(self, table: Table, split: Split | None) -> tuple[Examples, Table]:
        examples, kept = examples_of(self._task, table, split)
        if dropped := len(table.rows) - len(kept.rows):
            self.count("rows_without_label", dropped)
            self.note(f"dropped {dropped:,} of {len(table.rows):,} rows of {table.path.name} labelled {self._task.unlabelled!r}")
        if not len(examples):
            raise TaskDataError("no row has a label", where=table.place(len(self._task.texts), 0))
        return examples, kept

    def done(self) -> TaskInput:
        return TaskInput(
            task=self._task, train=self._train, dev=self._dev, other_dev=self._other, tests=self._tests, files=self._files,
            notes=tuple(self._notes), tally=self._tally,
        )  # fmt: skip
