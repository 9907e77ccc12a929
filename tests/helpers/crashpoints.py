"""A process that dies before the k-th durable operation, for every k that a test wants to visit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shards import durable

_KILLED = 9


def dies_before(operation: int, action: Callable[[], int | None]) -> bool:
    """Run `action` in a forked child that exits before durable operation number `operation`; return whether it got that far.

    A child that gets to the end must end well: `action` returns 0 or None.
    """
    child = os.fork()
    if child == 0:
        done = 0

        def hook(kind: str, path: Path) -> None:
            nonlocal done
            if done == operation:
                os._exit(_KILLED)
            done += 1

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        durable.fault_hook = hook
        os._exit(action() or 0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), code
    return code == _KILLED
