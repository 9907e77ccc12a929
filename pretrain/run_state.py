"""run.json: what a run is, how it was started, and whether it came to its end.

``state`` is ``running`` (also of a run that was interrupted: it is unfinished and can be resumed), ``finished`` or ``failed``
(with the error; it can be resumed too). Training itself stands in the checkpoints, never here.
"""

from __future__ import annotations

import os
import platform
import shlex
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from pretrain.errors import RunStateError
from shards import __version__
from shards.canonical import pretty_json, read_json_object
from shards.durable import commit_bytes
from shards.errors import WordloomError

RUN = "run.json"
RUNNING, FINISHED, FAILED = "running", "finished", "failed"
STATES = (RUNNING, FINISHED, FAILED)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run, None when the folder holds none. Raises RunStateError for one that makes no sense."""
    path = folder / RUN
    if not path.exists():
        return None
    try:
        record = read_json_object(path)
    except WordloomError as error:
        raise RunStateError(error.what, where=path) from None
    if record.get("state") not in STATES:
        raise RunStateError("unknown state", where=path, expected=STATES, got=record.get("state"))
    return record


def begin_run(folder: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the record of a run that starts, or goes on: the first start time stays. Returns the record."""
    before = read_run(folder) or {}
    record = {
        **fields,
        "state": RUNNING,
        "name": folder.name,
        "started": before.get("started", now()),
        "resumed": [*before.get("resumed", []), now()] if before else [],
        "process": {"pid": os.getpid(), "host": socket.gethostname()},
        "versions": versions(),
    }
    return _commit(folder, record)


def end_run(folder: Path, record: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Commit that the run came to its end, with its last figures."""
    return _commit(folder, {**record, "state": FINISHED, "finished": now(), "figures": dict(figures)})


def fail_run(folder: Path, record: Mapping[str, Any], error: BaseException) -> dict[str, Any]:
    """Commit that the run failed, and of what."""
    return _commit(folder, {**record, "state": FAILED, "failed": now(), "error": f"{type(error).__name__}: {error}"})


def _commit(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    commit_bytes(folder / RUN, pretty_json(record))
    return record


def command_line(arguments: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "pretrain.run", *arguments])


def resuming_command(arguments: Sequence[str]) -> str:
    """Return the command that goes on with a run started with `arguments`: the same, but for --resume and --json."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--resume":
            skip = True
        elif not argument.startswith("--resume=") and argument != "--json":
            kept.append(argument)
    return command_line(kept)


def is_alive(record: Mapping[str, Any]) -> bool | None:
    """Tell whether the process of a run still exists; None when it ran on another machine."""
    process = record.get("process", {})
    if process.get("host") != socket.gethostname():
        return None
    try:
        os.kill(int(process["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return True


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    found = {"wordloom": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in ("paddlepaddle", "paddlepaddle-gpu", "numpy", "pyarrow"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
