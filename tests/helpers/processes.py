"""The workers of a ray that a given process started, and nobody else's, found through /proc."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def ray_workers(driver: int) -> list[int]:
    """Return the pids of the actors at work among the descendants of process `driver`."""
    parents: dict[int, int] = {}
    titles: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_bytes()
    found = []
    for pid, title in titles.items():
        above = pid
        while above in parents and above != driver:
            above = parents[above]
        if above == driver and title.startswith(b"ray::_Worker"):
            found.append(pid)
    return found


@contextmanager
def killed_workers(driver: int, *, kills: int, every_s: float, seed: int = 0) -> Iterator[list[int]]:
    """Kill `kills` workers of `driver` at random, one every `every_s` seconds, during the block; give the list of their pids."""
    done: list[int] = []
    over = threading.Event()
    choose = random.Random(seed)

    def kill() -> None:
        while len(done) < kills and not over.wait(every_s):
            if workers := sorted(set(ray_workers(driver)) - set(done)):
                pid = choose.choice(workers)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    done.append(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        yield done
    finally:
        over.set()
        killer.join()


def wait_until(condition: object, timeout_s: float = 60.0) -> None:
    """Wait until the function `condition` returns something true."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
