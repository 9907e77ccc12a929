"""The rows of CAIL2019-SCM: three cases A, B and C, and which of B and C is closer to A.

Rows without label follow the task's convention that B is the closer one. Read so, "B" would be the answer to every row, so B and
C change places in half of them. A file that is not divided gives four fifths of its rows to training. Both are decided by a hash
of the row's three texts, so that neither depends on the order of the file or on what else is in it, and copies of a row stay
together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.gather import Gathering
from finetune.inputs import found, usual_folders
from finetune.json_lines import UNLABELLED, read_json_lines
from finetune.task import Task, TaskInput
from finetune.tsv import Table
from shards.canonical import canonical_json
from shards.counter import Purpose, fold
from shards.errors import NotFoundError

TRAIN_SHARE = 0.8


def load_cail(task: Task, folder: Path, reason: str, *, swap_seed: int) -> TaskInput:
    """Read a folder with train, dev and test files, or with one file that is divided. Raises NotFoundError, TaskDataError."""
    train, dev = found(folder, task.train_files), found(folder, task.dev.files)
    if train is not None and dev is not None:
        gathering = Gathering(task, f"data: {folder} ({reason})")
        gathering.take_training(_read(task, train, gathering, swap_seed), _read(task, dev, gathering, swap_seed))
        for split in task.other_dev:
            if path := found(folder, split.files):
                gathering.take_other(split, _read(task, path, gathering, swap_seed))
            else:
                gathering.note(f"{split.files[0]} is not there: no {split.name} score")
        return gathering.done()
    whole = train or only_file(folder)
    gathering = Gathering(task, f"data: {whole} ({reason})")
    table = _read(task, whole, gathering, swap_seed)
    # B and C in the order of their code points: where they changed places, the row stays on its side.
    hashes = [row_hash((a, *sorted((b, c)))) for a, b, c in zip(*table.columns[:3], strict=True)]
    sides = [_below(value, TRAIN_SHARE) for value in hashes]
    parts = [table.take([i for i, trains in enumerate(sides) if trains is side]) for side in (True, False)]
    if not all(part.rows for part in parts):
        raise TaskDataError("too few rows to divide into training and dev rows", where=whole, got=f"{len(table.rows)} rows")
    gathering.note(f"divided by a hash of each row: {len(parts[0].rows):,} rows to train on, {len(parts[1].rows):,} to score")
    gathering.record("divided", f"{TRAIN_SHARE}")
    gathering.take_training(parts[0], parts[1])
    return gathering.done()


def find_cail(task: Task, data_dir: str | None) -> tuple[Path, str] | None:
    """Return the task's folder and what led there, None when no usual folder has it. Raises NotFoundError."""
    if data_dir is not None:
        only_or_train(task, Path(data_dir))
        return Path(data_dir), "--data-dir"
    return next(((folder, why) for folder, why in usual_folders(task) if folder.is_dir()), None)


def only_or_train(task: Task, folder: Path) -> Path:
    return found(folder, task.train_files) or only_file(folder)


def only_file(folder: Path) -> Path:
    """Return the one file of JSON lines in a folder. Raises NotFoundError when there is none, or more than one."""
    files = sorted([*folder.glob("*.json"), *folder.glob("*.jsonl")]) if folder.is_dir() else []
    if len(files) != 1:
        raise NotFoundError(
            "no files of CAIL2019-SCM", where=folder, expected="train.json and valid.json, or one file of JSON lines",
            got=", ".join(path.name for path in files[:8]) or "none",
        )  # fmt: skip
    return files[0]


def _read(task: Task, path: Path, gathering: Gathering, swap_seed: int) -> Table:
    """Read one file; rows without label get one."""
    table = read_json_lines(path, wanted=(*task.texts, task.label), rewrite=task.rewrite)
    gathering.table_read(table)
    a, b, c, labels = (list(column) for column in table.columns)
    unlabelled = [index for index, label in enumerate(labels) if label == UNLABELLED]
    if not unlabelled:
        return table
    swapped = [index for index in unlabelled if swaps((a[index], b[index], c[index]), swap_seed)]
    for index in unlabelled:
        labels[index] = "B"
    for index in swapped:
        b[index], c[index], labels[index] = c[index], b[index], "C"
    gathering.count("rows_labelled_by_convention", len(unlabelled))
    gathering.record("swap_seed", str(swap_seed))
    gathering.note(
        f"{len(unlabelled):,} of {len(labels):,} rows of {path.name} have no label: B is the closer one by convention, and B "
        f"and C changed places in {len(swapped):,} of them (--swap-seed {swap_seed})"
    )
    return replace(table, columns=(a, b, c, labels))


def row_hash(texts: Sequence[str]) -> int:
    """Return 64 bits of the sha256 of a row's texts."""
    return int.from_bytes(hashlib.sha256(canonical_json(list(texts))).digest()[:8], "big")


def swaps(texts: Sequence[str], seed: int) -> bool:
    """Return whether B and C of an unlabelled row change places."""
    return bool(fold(seed, Purpose.FINETUNE, Purpose.SOP, row_hash(texts)) & 1)


def _below(value: int, share: float) -> bool:
    return fold(Purpose.FINETUNE, Purpose.SPLIT, value) < share * 2.0**64
