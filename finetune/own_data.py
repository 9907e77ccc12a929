"""A user's own rows, from files and columns they name: classes, pairs and scores (tagging is in `tagged_data`)."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from finetune.delimited import read_delimited
from finetune.gather import Gathering
from finetune.json_lines import read_json_lines
from finetune.task import Task, TaskInput
from finetune.tsv import Table
from shards.canonical import canonical_json
from shards.errors import UsageError

_LAYOUTS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def own_task(name: str, *, columns: str, kind: str, labels: str | None) -> Task:
    """Return the task that the options describe. Raises UsageError."""
    names = [part.strip() for part in columns.split(",")]
    if len(names) not in (2, 3) or not all(names) or len(set(names)) < len(names):
        raise UsageError(
            "--columns names one text column or two, then the label's", expected="text,label or text_a,text_b,label", got=columns
        )
    *texts, label = names
    if kind == "score":
        if labels is not None:
            raise UsageError("--labels goes with classes, not with --kind score")
        return Task(
            name=name, family="", kind="score", texts=tuple(texts), label=label, score_range=(-math.inf, math.inf),
            metrics=("pearson", "spearman"),
        )  # fmt: skip
    return Task(
        name=name, family="", texts=tuple(texts), label=label, labels=named_labels(labels, least=2), metrics=("acc", "f1-macro")
    )


def named_labels(labels: str | None, *, least: int) -> tuple[str, ...]:
    """Return what --labels names, nothing for None. Raises UsageError for fewer than `least`, or one twice."""
    given = tuple(part.strip() for part in labels.split(",")) if labels is not None else ()
    if labels is not None and (len(given) < least or not all(given) or len(set(given)) < len(given)):
        raise UsageError(f"--labels needs {'two labels' if least == 2 else 'one label'} or more, none twice", got=labels)
    return given


def require_name(name: str) -> str:
    """Return a name that can be a folder of results. Raises UsageError."""
    if not name or name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise UsageError(f"--name becomes a folder: letters, digits, . _ - only, got {name!r}")
    return name


def load_own(task: Task, *, train: Path, dev: Path, layout: str, has_header: bool) -> TaskInput:
    """Read training and dev rows. Raises NotFoundError, TaskDataError with file:row:column, UsageError for the layout."""
    gathering = Gathering(task, f"data: {train} and {dev}")
    tables = [_read(task, path, layout, has_header) for path in (train, dev)]
    for table in tables:
        gathering.table_read(table)
    # Which columns are read decides what the rows are, as much as the files' bytes do.
    gathering.record("columns", hashlib.sha256(canonical_json([*task.texts, task.label, task.kind, has_header])).hexdigest())
    gathering.take_training(*tables)
    return gathering.done()


def layout_of(path: Path, layout: str) -> str:
    """Return the layout of a file: the one given, or what its name says. Raises UsageError."""
    found = _LAYOUTS.get(path.suffix.lower()) if layout == "auto" else layout
    if found is None:
        raise UsageError(f"the name of {path} does not tell its layout", hint="Say it: --layout tsv|csv|json")
    return found


def _read(task: Task, path: Path, layout: str, has_header: bool) -> Table:
    found, wanted = layout_of(path, layout), (*task.texts, task.label)
    if found == "json":
        return read_json_lines(path, wanted=wanted)
    return read_delimited(path, layout=found, wanted=wanted, has_header=has_header)
