"""Where a task's rows come from, and proof of which bytes they were.

Looked up in this order: ``--data-dir`` (the task's folder, or one that holds it), ``$WORDLOOM_DATA/<family>/<task>``,
``./data/<family>/<task>``, the hub. What was asked for by name and is not there is an error, never a reason to look elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.gather import Gathering
from finetune.sample import sample_folder
from finetune.task import Split, Task, TaskInput
from shards.errors import NotFoundError, UsageError

SOURCES = ("auto", "local", "hub", "sample")
ENVIRONMENT = "WORDLOOM_DATA"
HUB_ID = "nyu-mll/glue"

Elsewhere = Callable[[list[str]], TaskInput]


def load_task(
    task: Task,
    *,
    source: str = "auto",
    data_dir: str | None = None,
    hub_id: str = HUB_ID,
    tests: bool = False,
    elsewhere: Elsewhere | None = None,
) -> TaskInput:
    """Find and read every row of a task; with `tests` also the rows to be predicted.

    `elsewhere` is asked when no folder holds the task, with the folders that were looked at; by default the hub is.

    Raises UsageError for options that contradict each other, NotFoundError, TaskDataError (file:row:column), HubError.
    """
    if data_dir is not None and source in ("hub", "sample"):
        raise UsageError(f"--data-dir {data_dir} and --data {source} name two sources", hint="Give one of them")
    if source == "sample":
        if task.name != "SST-2":
            raise UsageError(f"the embedded sample is in the form of SST-2, not of {task.name}", hint="Give --task SST-2")
        reason = "the embedded sample: to try the command, its scores compare with nothing"
        return read_folder(task, sample_folder(), reason, tests=tests)
    if data_dir is not None:
        return read_folder(task, _folder_given(task, Path(data_dir)), "--data-dir", tests=tests)
    looked: list[str] = []
    if source in ("auto", "local"):
        for folder, reason in usual_folders(task):
            if found(folder, task.train_files) or found(folder, task.dev.files):
                return read_folder(task, folder, reason, tests=tests)
            looked.append(str(folder))
    if source == "local":
        raise NotFoundError(
            f"no files of {task.name}",
            where=", ".join(looked),
            hint=f"Give --data-dir DIR with {task.train_files[0]} and {task.dev.files[0]}, or set {ENVIRONMENT}",
        )
    if tests:
        raise NotFoundError(
            f"--predict: no files of {task.name}", where=", ".join(looked) or None, hint="Only local test files can be predicted"
        )
    if elsewhere is not None:
        return elsewhere(looked)
    from finetune.hub import load_from_hub

    return load_from_hub(task, hub_id, looked=looked)


def there_of(tasks: Sequence[Task], *, data_dir: str | None) -> list[Task]:
    """Return the tasks of which a training file is in the folders that `load_task` would look at."""
    given = Path(data_dir) if data_dir is not None else None
    return [
        task
        for task in tasks
        if any(
            found(folder, task.train_files)
            for folder in (_folders_given(task, given) if given else [folder for folder, _ in usual_folders(task)])
        )
    ]


def found(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of the files that is there."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def _folder_given(task: Task, given: Path) -> Path:
    folders = _folders_given(task, given)
    for folder in folders:
        if found(folder, task.train_files):
            return folder
    raise NotFoundError(
        f"no {task.train_files[0]} of {task.name} in --data-dir",
        where=given,
        hint="Looked for "
        + " and ".join(str(folder / task.train_files[0]) for folder in dict.fromkeys(folders))
        + ", as the official archives unpack",
    )


def _folders_given(task: Task, given: Path) -> list[Path]:
    return [given, *(given / place.rpartition("/")[2] for place in task.places)]


def usual_folders(task: Task) -> list[tuple[Path, str]]:
    """Return the folders where a task is looked for unless told, each with what led there."""
    root = os.environ.get(ENVIRONMENT)
    folders = [(Path(root) / place, f"${ENVIRONMENT}") for place in task.places] if root else []
    return [*folders, *((Path("data") / place, "the working directory") for place in task.places)]


def read_folder(task: Task, folder: Path, reason: str, *, tests: bool) -> TaskInput:
    """Read every file of a task's folder. Raises NotFoundError, TaskDataError."""
    if task.label_file is not None:
        task = task.with_labels(class_names(folder / task.label_file))
    train, dev = _path(folder, task.train_files), _path(folder, task.dev.files)
    tests_of = tuple(replace(split, submission=split.submission_of.get(train.name, split.submission)) for split in task.tests)
    task = replace(task, tests=tests_of)
    gathering = Gathering(task, f"data: {folder} ({reason})")
    gathering.read_training(train, dev)
    for split in task.other_dev:
        path = found(folder, split.files)
        if path is not None:
            gathering.read_other(split, path)
        else:
            gathering.note(f"{split.files[0]} is not there: no {split.name} score")
    if tests:
        _read_tests(task, folder, gathering)
    return gathering.done()


def _read_tests(task: Task, folder: Path, gathering: Gathering) -> None:
    there: list[tuple[Split, Path]] = []
    for split in task.tests:
        path = found(folder, split.files)
        if path is None:
            gathering.note(f"{split.files[0]} is not there: no {split.submission}")
        else:
            there.append((split, path))
    if not there:
        raise NotFoundError(
            f"--predict: no test file of {task.name}", where=folder,
            expected=" or ".join(split.files[0] for split in task.tests) or "a task with test files",
        )  # fmt: skip
    for split, path in there:
        gathering.read_test(split, path)


def _path(folder: Path, names: tuple[str, ...]) -> Path:
    path = found(folder, names)
    if path is None:
        raise NotFoundError("no such task file", where=folder / names[0], expected=" or ".join(names) if names[1:] else None)
    return path


def class_names(path: Path) -> list[str]:
    """Return the names of a task's classes, one a line. Raises NotFoundError, TaskDataError."""
    from hashlib import sha256

    from finetune.lines import lines, opened

    with opened(path) as file:
        names = [text.strip() for _, text in lines(file, path, sha256())]
    while names and not names[-1]:
        names.pop()
    for row, name in enumerate(names, 1):
        if not name or names.index(name) < row - 1:
            raise TaskDataError("no name of a class, or one named before", where=f"{path}:{row}:1", got=repr(name))
    return names
