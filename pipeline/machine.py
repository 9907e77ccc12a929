"""What this machine has for workers: cores and memory."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_workers(worker_memory: int) -> int:
    """Return how many workers of `worker_memory` bytes this machine holds: one a core at most, and one whatever they need."""
    return max(min(cores(), memory_bytes() // worker_memory), 1)
