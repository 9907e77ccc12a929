"""Where jobs run: in this process one after another, or several at a time on ray (`ray_jobs`, the only file that imports it)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from finetune.job import Job, JobResult, TaskRows, run_job, start_device
from pretrain.environment import available_cores
from shards.errors import WordloomError

ENGINES = ("ray", "local")


class Engine(Protocol):
    """Runs jobs; yields (position, result) as they finish. A job that fails for a reason of its own yields its error instead."""

    @property
    def description(self) -> str: ...

    def run(self, jobs: Sequence[Job], stop: Callable[[], int | None]) -> Iterator[tuple[int, JobResult | WordloomError]]: ...

    def close(self) -> None: ...


class LocalJobs:
    """In this process, one after another, log lines printed as they come."""

    description = "in this process"

    def __init__(self, all_rows: Sequence[TaskRows], first: Job) -> None:
        # paddle takes signals for itself when it is imported, so it is imported before anybody waits for one.
        start_device(first)
        self._all_rows = all_rows

    def run(self, jobs: Sequence[Job], stop: Callable[[], int | None]) -> Iterator[tuple[int, JobResult | WordloomError]]:
        """See `Engine`. Raises Interrupted at the end of a step after which `stop` returns a signal."""
        for position, job in enumerate(jobs):
            rows = self._all_rows[job.rows]
            print(f"{rows.task.name}, seed {job.seed} ({position + 1} of {len(jobs)})", flush=True)
            try:
                yield position, run_job(job, rows, stop=stop, say=_say)
            except WordloomError as error:
                yield position, error

    def close(self) -> None:
        """Nothing was opened."""


def _say(text: str) -> None:
    print(text, flush=True)  # a log that is piped should still be live


def workers_for(jobs: int, asked: int | None) -> int:
    """Return how many jobs may run at a time on this machine: one a core, never more than there are jobs."""
    return max(1, min(jobs, asked or available_cores()))


def threads_for(workers: int) -> int:
    """Return the threads of each of `workers` jobs: what the user's OMP_NUM_THREADS says, or a share of the cores.

    The engine does not matter: equal threads, equal sums, equal scores.
    """
    theirs = os.environ.get("OMP_NUM_THREADS", "")
    return int(theirs) if theirs.isdigit() and int(theirs) > 0 else max(1, available_cores() // workers)


def open_engine(name: str, all_rows: Sequence[TaskRows], jobs: Sequence[Job], *, workers: int, address: str | None) -> Engine:
    """Return the engine for these jobs; ray is started for more than one only."""
    if name == "local" or len(jobs) < 2:
        return LocalJobs(all_rows, jobs[0])
    from finetune.ray_jobs import RayJobs

    return RayJobs(all_rows, workers=workers, address=address, gpu=jobs[0].device == "gpu")
