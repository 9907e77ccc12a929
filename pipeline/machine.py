"""What this machine has for workers: cores and memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# What a container may use, seen from within: control groups 2, and 1.
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the physical memory, or what a container may use of it."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            found = min(found, int(limit.read_text()))
    return found


def default_workers(worker_memory: int) -> int:
    """Return how many workers of `worker_memory` bytes this machine holds: one a core at most, and one whatever they need."""
    return max(min(cores(), memory_bytes() // worker_memory), 1)
