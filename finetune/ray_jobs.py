"""Jobs on ray: several at a time on the cores of one machine, or on a cluster. The one file of this package that imports it.

Encoded rows go to the object store once. A job is a ray task: it depends on nothing but its arguments, so one whose worker died
is simply given out again. An error that a job raises itself (a loss that diverges) is not retried: it would come again.

A cluster is joined only when the caller names its address; otherwise ray is bound to loopback. On a cluster, the project must be
installed and the checkpoint be readable under the same path on every node.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from finetune.errors import EngineError
from finetune.job import Job, JobResult, TaskRows, run_job
from shards import __version__
from shards.cli import Interrupted
from shards.errors import MismatchError, WordloomError

_POLL_S = 0.5
_RETRIES = 3


class RayJobs:
    """See the module docstring. workers: jobs at a time on this machine; gpu: each job gets a GPU of its own."""

    def __init__(self, all_rows: Sequence[TaskRows], *, workers: int, address: str | None, gpu: bool) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(
                    address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False,
                    logging_level=logging.ERROR, _node_ip_address="127.0.0.1",
                )  # fmt: skip
        except Exception as error:  # ray raises from many layers
            hint = "Does the cluster run there?" if address else "Try --engine local"
            raise EngineError(f"ray did not start: {error}", where=address, hint=hint) from error
        self.description = f"ray, {workers} at a time" if address is None else f"ray, on the cluster at {address}"
        self._all_rows = [ray.put(rows) for rows in all_rows]
        self._run: Any = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0, max_retries=_RETRIES)(_run_there).remote

    def run(self, jobs: Sequence[Job], stop: Callable[[], int | None]) -> Iterator[tuple[int, JobResult | WordloomError]]:
        """See `engines.Engine`. Raises Interrupted when `stop` returns a signal: jobs in hand are given up."""
        running = {self._run(job, self._all_rows[job.rows], __version__): position for position, job in enumerate(jobs)}
        total = len(running)
        while running:
            ready, _ = self._ray.wait(list(running), num_returns=1, timeout=_POLL_S)
            if (number := stop()) is not None:
                raise Interrupted(
                    number, f"with {total - len(running)} of {total} jobs finished. Run the same command again to go on"
                )
            for reference in ready:
                yield running.pop(reference), self._result(reference)

    def _result(self, reference: Any) -> JobResult | WordloomError:
        try:
            found: JobResult = self._ray.get(reference)
            return found
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WordloomError):
                return error.cause
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except self._ray.exceptions.RayError as error:
            raise EngineError(
                f"a job's worker died {_RETRIES + 1} times", got=str(error).strip().splitlines()[0],
                hint="Is there enough memory? Try fewer --workers",
            ) from error  # fmt: skip

    def close(self) -> None:
        self._ray.shutdown()


def _run_there(job: Job, rows: TaskRows, version: str) -> JobResult:
    if version != __version__:
        raise MismatchError(
            "a node has another version of wordloom", where=os.uname().nodename, expected=version, got=__version__,
            hint="Install the same one everywhere",
        )  # fmt: skip
    # ray gives its workers one thread each; how many a job has is decided once, for every engine.
    os.environ["OMP_NUM_THREADS"] = str(job.threads)
    return run_job(job, rows, stop=_never, say=_silent)


def _never() -> int | None:
    return None


def _silent(text: str) -> None:
    """The lines come back with the result."""
