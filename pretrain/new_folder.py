"""Folders that a command makes anew: refused when there is something already, and there whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

from shards.durable import commit_bytes, commit_directory, remove_tree
from shards.errors import ExistsError, UsageError


def check_new_folder(folder: Path) -> None:
    """Raise UsageError or ExistsError unless `folder` can be made."""
    if "://" in str(folder):
        raise UsageError("--out must be a folder of this machine", got=str(folder))
    if folder.exists() or folder.is_symlink():
        raise ExistsError("--out is there already", where=folder, hint="Name a folder that is not there yet")


def commit_new_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Commit `files` (path below the folder → bytes) as `folder`. Raises ExistsError, StorageError."""
    check_new_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.tmp-{uuid.uuid4().hex[:12]}"
    try:
        for name, data in files.items():
            commit_bytes(temporary / name, data)
        commit_directory(temporary, folder)
    except BaseException:
        remove_tree(temporary)
        raise
