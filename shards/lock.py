"""One writer per output folder: a build, or a training run.

The lock file is created exclusively-or-opened, then locked with flock: the kernel lets go of it when the holder dies, so a
killed process never blocks the next one. The file tells who holds it (pid, host, since when). On storage shared by machines
flock may not reach across: a lock file of another host is therefore respected until somebody deletes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from shards.errors import LockedError


def lock_path(folder: Path) -> Path:
    """Return the lock file of a data set: beside its folder, so that deleting the folder does not delete the lock."""
    return folder.parent / f".{folder.name}.lock"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` during the block.

    Raises LockedError, naming the holder, when another process has it. A lock left by a dead process of this machine is
    taken over with a printed notice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(handle)
            os.close(handle)
            raise LockedError(f"locked by {describe(holder)}", where=path, hint="Wait for it to end, or stop it") from None
        if not _still_there(handle, path):  # the holder before us deleted the file between our open and our lock
            os.close(handle)
            continue
        holder = _read(handle)
        if holder and holder.get("host") != socket.gethostname():
            os.close(handle)
            raise LockedError(f"locked by {describe(holder)}", where=path, hint="If nothing runs there any more, delete the file")
        if holder:
            print(f"took over the lock of a process that died: {describe(holder)}")
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(this_process()).encode(), 0)
        return handle


def _still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _read(handle: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(handle, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def this_process() -> dict[str, object]:
    """Return what a lock says of its holder."""
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def describe(holder: dict[str, object]) -> str:
    """Return the holder of a lock in words."""
    if not holder:
        return "another process"
    return f"pid {holder.get('pid')} on host {holder.get('host')} since {holder.get('since')}"
