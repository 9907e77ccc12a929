"""The engine that works on the cores of one machine, or of a cluster, through ray. The one module that imports it.

Each worker is an actor that makes its function once and then gets one task at a time, so that tasks in flight, and with
them memory, stay bounded. A worker that dies is replaced and its task is given to another: tasks are pure and idempotent, so
running one twice does no harm. An error that the task itself raises is not retried: it would come again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pipeline.errors import EngineError

Task = TypeVar("Task")
Result = TypeVar("Result")

MAX_ATTEMPTS = 4


class RayEngine:
    """See the module docstring. Ports are bound to loopback unless `address` names a cluster."""

    def __init__(self, *, workers: int, address: str | None = None) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self.workers = workers
        where = f"the cluster at {address}" if address else "this machine"
        self.description = f"ray, {workers} worker{'s' if workers > 1 else ''} on {where}"
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(
                    num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                )  # fmt: skip
        except Exception as error:  # ray raises from many layers
            raise EngineError(f"ray did not start: {error}", hint="Try --engine local") from error

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run tasks on the workers; raises what a task raised, or EngineError when workers keep dying."""
        ray = self._ray
        actor = ray.remote(num_cpus=1)(_Worker)
        waiting = list(range(len(tasks)))[::-1]
        attempts = [0] * len(tasks)
        running: dict[Any, tuple[int, Any]] = {}

        def start(worker: Any) -> None:
            position = waiting.pop()
            attempts[position] += 1
            running[worker.call.remote(tasks[position])] = (position, worker)

        for _ in range(min(self.workers, len(tasks))):
            start(actor.remote(make))
        while running:
            ready = self._first_ready(list(running))
            position, worker = running.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            except ray.exceptions.RayError as error:
                if attempts[position] >= MAX_ATTEMPTS:
                    raise EngineError(
                        f"workers died {MAX_ATTEMPTS} times on task {position}", got=str(error).strip().splitlines()[0],
                        hint="Is there enough memory? Try fewer --workers",
                    ) from error  # fmt: skip
                waiting.append(position)
                start(actor.remote(make))
                continue
            if waiting:
                start(worker)
            yield position, result

    def _first_ready(self, references: list[Any]) -> Any:
        try:
            ready, _ = self._ray.wait(references, num_returns=1)
        except SystemError as error:  # what a signal handler raises inside ray's compiled code comes out wrapped
            raise error.__cause__ or error from None
        return ready[0]

    def close(self) -> None:
        self._ray.shutdown()


class _Worker:
    """A process of its own; makes its function when the first task comes, so that a failure there is a task's failure."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._function: Callable[[Any], Any] | None = None

    def call(self, task: Any) -> Any:
        if self._function is None:
            self._function = self._make()
        return self._function(task)


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
