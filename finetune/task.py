"""What fine-tuning has to know of a task, and the rows of one. `tasks` holds the table of those that are known by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shards.canonical import fingerprint

# classes: one label a row. score: one number a row. choice: which of two texts is closer to a first. tags: a label a word.
KINDS = ("classes", "score", "choice", "tags")
LAYOUTS = ("tsv", "csv", "json", "conll")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One set of rows beside the training rows.

    `name` stands behind the names of its metrics, "" for the dev set itself. `files` are looked for in this order, relative to
    the task's folder. What is None is the task's; `columns` () means a header where the task's files have none. Of test rows,
    `submission` is the file that takes their predictions, save for those of `submission_of`, by training file (FewCLUE's).
    """

    name: str = ""
    files: tuple[str, ...]
    texts: tuple[str, ...] | None = None
    label: str | None = None
    columns: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    submission: str = ""
    submission_of: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row of the table of tasks.

    `labels` are the class names in class order; empty: those of the training rows (or, with `label_file`, as many as that file
    has lines: files hold numbers from 0, the lines their names). A score lies within `score_range`, whose ends may be infinite.
    `texts` are one column, or two of a pair, or three of a choice; `columns` names the fields of files without header, the
    last of which takes what is left of a row with `tabs_in_last`. Rows labelled `unlabelled` are dropped and counted.
    `max_defects` rows a file may be broken (left out, counted and shown).
    `rewrite` names what is done to a record before its columns are taken (`json_lines.REWRITES`). `learning_rate`, `epochs` and
    what follows them are defaults, for whoever says nothing else.
    """

    name: str
    family: str = "glue"
    folder: str = ""
    kind: str = "classes"
    layout: str = "tsv"
    texts: tuple[str, ...]
    label: str = "label"
    id: str | None = None
    labels: tuple[str, ...] = ()
    label_file: str | None = None
    score_range: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ("acc",)
    columns: tuple[str, ...] | None = None
    tabs_in_last: bool = False
    rewrite: str | None = None
    unlabelled: str | None = None
    max_defects: int = 0
    train_files: tuple[str, ...] = ("train.tsv",)
    dev: Split = Split(files=("dev.tsv",))
    other_dev: tuple[Split, ...] = ()
    tests: tuple[Split, ...] = ()
    hub_config: str | None = None
    hub_texts: tuple[str, ...] | None = None
    hub_dev: str = "validation"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    warmup: float = 0.1
    lr_schedule: str = "linear"
    weight_decay: float = 0.01
    max_seq_len: int = 128

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.layout not in LAYOUTS:
            raise ValueError(f"task {self.name}: unknown kind {self.kind!r} or layout {self.layout!r}")
        if (self.kind == "score") != (self.score_range is not None):
            raise ValueError(f"task {self.name}: a score range goes with scores, got {self.score_range}")
        if self.kind == "score" and self.labels:
            raise ValueError(f"task {self.name}: scores have no labels, got {self.labels}")
        if self.tabs_in_last and self.columns is None:
            raise ValueError(f"task {self.name}: which column takes the rest of a row is known of files without header only")
        wanted = {"choice": (3,), "tags": (1,)}.get(self.kind, (1, 2))
        if len(self.texts) not in wanted:
            raise ValueError(f"task {self.name}: {wanted} text columns expected, got {self.texts}")

    @property
    def is_regression(self) -> bool:
        return self.kind == "score"

    @property
    def outputs(self) -> int:
        """Width of the head: the number of classes or tags, or 1 for a score (of which a choice has one a text)."""
        return len(self.labels) if self.kind in ("classes", "tags") else 1

    @property
    def places(self) -> tuple[str, ...]:
        """The task's folders below the data folder, in the order in which they are looked for."""
        name = self.folder or self.name
        if self.family == "clue":  # as its archives unpack, and FewCLUE beside it
            return f"clue/{name}", f"clue/{name}_public", f"clue/{name}2020", f"clue_few/{name}"
        return (f"{self.family}/{name}",) if self.family else (name,)

    def metrics_of(self, split_name: str) -> tuple[str, ...]:
        """Return the metrics of the dev set called `split_name`."""
        return next((s.metrics for s in self.other_dev if s.name == split_name and s.metrics is not None), self.metrics)

    def with_labels(self, labels: Sequence[str]) -> Task:
        return replace(self, labels=tuple(labels))


@dataclass(frozen=True, kw_only=True)
class TaggedWords:
    """The words of one row of a tagging task: where each lies in the text, [begin, end) in characters, and its tag's number."""

    begins: tuple[int, ...]
    ends: tuple[int, ...]
    tags: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Rows of a task: texts_a[i] (with texts_b[i] of a pair, and texts_c[i] of a choice).

    `labels[i]` is a class index, a score, or the number of the closer text (0: B, 1: C); of a tagging task, `labels` is empty
    and `words[i]` holds words and tags. Rows without labels, to be predicted, have none either. `ids[i]` is the row's name in
    its file, where it has one.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: list[int] | list[float]
    texts_c: list[str] | None = None
    words: list[TaggedWords] | None = None
    ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts_a)

    @property
    def texts(self) -> tuple[list[str], ...]:
        """The columns of text there are."""
        return tuple(column for column in (self.texts_a, self.texts_b, self.texts_c) if column is not None)

    def take(self, indices: Sequence[int]) -> Examples:
        """Return the rows at `indices`, in that order."""
        return Examples(
            texts_a=[self.texts_a[i] for i in indices],
            texts_b=None if self.texts_b is None else [self.texts_b[i] for i in indices],
            labels=[self.labels[i] for i in indices] if self.labels else [],
            texts_c=None if self.texts_c is None else [self.texts_c[i] for i in indices],
            words=None if self.words is None else [self.words[i] for i in indices],
            ids=None if self.ids is None else [self.ids[i] for i in indices],
        )


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """All rows of a task.

    `task` is the task with its labels known. `other_dev` and `tests` are by the name of their split. `files` maps each file's
    name to its sha256; `fingerprint` is the sha256 of that map. `notes` say what was found, where, and what was left out; `tally`
    counts it.
    """

    task: Task
    train: Examples
    dev: Examples
    other_dev: dict[str, Examples] = field(default_factory=dict)
    tests: dict[str, Examples] = field(default_factory=dict)
    files: dict[str, str]
    notes: tuple[str, ...]
    tally: dict[str, int] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.files)
