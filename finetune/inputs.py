"""Where a task's rows come from, and proof of which bytes they were.

Looked up in this order: ``--data-dir`` (the task's folder, or one that holds it), ``$WORDLOOM_DATA/glue/<task>``,
``./data/glue/<task>``, the hub. What was asked for by name and is not there is an error, never a reason to look elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.sample import sample_folder
from finetune.tasks import Examples, Task, TaskInput, read_examples
from shards.errors import NotFoundError, UsageError

SOURCES = ("auto", "local", "hub", "sample")
ENVIRONMENT = "WORDLOOM_DATA"
HUB_ID = "nyu-mll/glue"


def load_task(task: Task, *, source: str = "auto", data_dir: str | None = None, hub_id: str = HUB_ID) -> TaskInput:
    """Find and read every row of a task.

    Raises UsageError for options that contradict each other, NotFoundError, TaskDataError (file:row:column), HubError.
    """
    data = _load(task, source, data_dir, hub_id)
    if len(set(data.train.labels)) < 2:
        raise TaskDataError(
            f"every training row of {task.name} has the same label: there is nothing to learn", got=data.train.labels[0]
        )
    return data


def _load(task: Task, source: str, data_dir: str | None, hub_id: str) -> TaskInput:
    if data_dir is not None and source in ("hub", "sample"):
        raise UsageError(f"--data-dir {data_dir} and --data {source} name two sources", hint="Give one of them")
    if source == "sample":
        if task.name != "SST-2":
            raise UsageError(f"the embedded sample is in the form of SST-2, not of {task.name}", hint="Give --task SST-2")
        return _read_folder(task, sample_folder(), "the embedded sample: to try the command, its scores compare with nothing")
    if data_dir is not None:
        return _read_folder(task, _folder_given(task, Path(data_dir)), "--data-dir")
    looked: list[str] = []
    if source in ("auto", "local"):
        for folder, reason in _usual_folders(task):
            if (folder / task.train_file).exists() or (folder / task.dev_file).exists():
                return _read_folder(task, folder, reason)
            looked.append(str(folder))
    if source == "local":
        raise NotFoundError(
            f"no files of {task.name}",
            where=", ".join(looked),
            hint=f"Give --data-dir DIR with {task.train_file} and {task.dev_file}, or set {ENVIRONMENT}",
        )
    from finetune.hub import load_from_hub

    return load_from_hub(task, hub_id, looked=looked)


def _folder_given(task: Task, given: Path) -> Path:
    for folder in (given, given / task.name):
        if (folder / task.train_file).exists():
            return folder
    raise NotFoundError(
        f"no {task.train_file} of {task.name} in --data-dir",
        where=given,
        hint=f"Looked for {given / task.train_file} and {given / task.name / task.train_file}, as the official archives unpack",
    )


def _usual_folders(task: Task) -> list[tuple[Path, str]]:
    root = os.environ.get(ENVIRONMENT)
    folders = [(Path(root) / "glue" / task.name, f"${ENVIRONMENT}")] if root else []
    return [*folders, (Path("data") / "glue" / task.name, "the working directory")]


def _read_folder(task: Task, folder: Path, reason: str) -> TaskInput:
    notes = [f"data: {folder} ({reason})"]
    files: dict[str, str] = {}

    def read(name: str) -> Examples:
        examples, table = read_examples(task, folder / name)
        files[name] = table.sha256
        if table.defects:
            notes.append(f"left out {len(table.defects)} broken rows of {name}, the first at {table.defects[0]}")
        return examples

    train, dev, other_dev = read(task.train_file), read(task.dev_file), None
    if task.other_dev is not None:
        name, file = task.other_dev
        if (folder / file).exists():
            other_dev = read(file)
        else:
            notes.append(f"{file} is not there: no {name} score")
    return TaskInput(train=train, dev=dev, other_dev=other_dev, files=files, notes=tuple(notes))
