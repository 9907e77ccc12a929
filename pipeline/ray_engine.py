"""The engine that works on the cores of one machine, or of a cluster, through ray. The one module that imports it.

Each worker is an actor that gets one task at a time, when its last result is there: tasks in flight, and with them memory, stay
bounded. Workers start with the engine and serve one run after another (starting one takes a second and a half); each makes
its function once a run. A worker that dies is replaced and its task is given out again: tasks are pure and idempotent, so
running one twice does no harm. An error that the task itself raises is not retried: it would come again.

A cluster is joined only when the caller names its address: neither a variable nor a file that ray finds on the machine makes
it send anything elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

from pipeline.build_options import DEFAULT_WORKER_MEMORY_BYTES
from pipeline.errors import EngineError
from pipeline.machine import default_workers
from shards import __version__

Task = TypeVar("Task")
Result = TypeVar("Result")

MAX_ATTEMPTS = 4
# Workers that are not there by then start while the first tasks wait for them.
_START_TIMEOUT_S = 30.0


class _Running(NamedTuple):
    position: int
    task: Any
    attempt: int
    worker: Any


class RayEngine:
    """See the module docstring. Ports are bound to loopback unless `address` names a cluster.

    workers: how many; None for as many as a cluster has room for, or `default_workers` of this machine. worker_memory: bytes that
    each is promised, by which ray places them on a cluster; workers that are asked for find their place on one machine anyway.
    prepare: called in each worker when it starts, to load what tasks will need.
    """

    def __init__(
        self, *, workers: int | None = None, address: str | None = None, worker_memory: int = DEFAULT_WORKER_MEMORY_BYTES,
        prepare: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self._memory, self._prepare = worker_memory, prepare
        self._idle: list[Any] = []
        self._runs = count()
        self.retries = 0
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                workers = workers or default_workers(worker_memory)
                # What ray may give away is set to what the workers ask for: on one machine they always fit.
                ray.init(
                    address="local", num_cpus=workers, _memory=workers * worker_memory, include_dashboard=False,
                    log_to_driver=False, logging_level=logging.ERROR, _node_ip_address="127.0.0.1",
                )  # fmt: skip
        except Exception as error:  # ray raises from many layers
            hint = "Does the cluster run there?" if address else "Try --engine local"
            raise EngineError(f"ray did not start: {error}", where=address, hint=hint) from error
        self.workers = self._places(workers, address) if address else workers or 1
        where = f"the cluster at {address}" if address else "this machine"
        self.description = f"ray, {self.workers} worker{'s' if self.workers > 1 else ''} on {where}"
        self._idle = [self._new_worker() for _ in range(self.workers)]
        self._ray.wait([worker.started.remote() for worker in self._idle], num_returns=self.workers, timeout=_START_TIMEOUT_S)

    def _new_worker(self) -> Any:
        return self._ray.remote(num_cpus=1, memory=self._memory)(_Worker).remote(self._prepare)

    def _places(self, workers: int | None, address: str) -> int:
        """Return how many of the workers asked for find a place: one that never starts would hold its task for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        places = sum(int(min(n.get("CPU", 0), n.get("memory", 0) // self._memory)) for n in nodes)
        if places == 0:
            raise EngineError(
                "no node has a free core and the memory of a worker", where=address, expected=f"{self._memory:,} bytes",
                got=f"at most {int(max((n.get('memory', 0) for n in nodes), default=0)):,}", hint="Lower --worker-memory",
            )  # fmt: skip
        if workers is not None and workers > places:
            print(f"the cluster at {address} has room for {places} of {workers} workers")
        return min(workers or places, places)

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Run tasks on the workers; raises what a task raised, or EngineError when workers keep dying."""
        run, shared = next(self._runs), self._ray.put((make, __version__))
        waiting = enumerate(tasks)
        running: dict[Any, _Running] = {}

        def start(position: int, task: Task, attempt: int, worker: Any) -> None:
            running[worker.call.remote(run, shared, task)] = _Running(position, task, attempt, worker)

        for position, task in islice(waiting, self.workers):
            start(position, task, 1, self._idle.pop() if self._idle else self._new_worker())
        while running:
            ready = self._first_ready(list(running))
            done = running.pop(ready)
            try:
                result = self._ray.get(ready)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            except self._ray.exceptions.RayError as error:
                self._check_attempts(done, error)
                start(done.position, done.task, done.attempt + 1, self._new_worker())
                continue
            for position, task in waiting:
                start(position, task, 1, done.worker)
                break
            else:
                self._idle.append(done.worker)
            yield done.position, result

    def _check_attempts(self, lost: _Running, error: Exception) -> None:
        if lost.attempt >= MAX_ATTEMPTS:
            raise EngineError(
                f"workers died {MAX_ATTEMPTS} times on {lost.task}", got=str(error).strip().splitlines()[0],
                hint="Is there enough memory? Try fewer --workers",
            ) from error  # fmt: skip
        self.retries += 1

    def _first_ready(self, references: list[Any]) -> Any:
        try:
            ready, _ = self._ray.wait(references, num_returns=1)
        except SystemError as error:  # what a signal handler raises inside ray's compiled code comes out wrapped
            raise error.__cause__ or error from None
        return ready[0]

    def close(self) -> None:
        self._ray.shutdown()


class _Worker:
    """A process of its own; makes the function of a run when its first task comes: a failure there is a task's failure."""

    def __init__(self, prepare: Callable[[], None] | None) -> None:
        if prepare is not None:
            prepare()
        self._run = -1
        self._function: Callable[[Any], Any] | None = None

    def started(self) -> None:
        """Answer, once the process is there."""

    def call(self, run: int, shared: tuple[Callable[[], Callable[[Any], Any]], str], task: Any) -> Any:
        if run != self._run or self._function is None:
            make, version = shared
            check_version(version)
            self._function = None  # what the last run needed goes before what this one needs
            self._run, self._function = run, make()
        return self._function(task)


def check_version(expected: str) -> None:
    """Raise EngineError on a node whose version of the project might make other bytes than the driver's."""
    if __version__ != expected:
        raise EngineError(
            "a node has another version of wordloom", where=os.uname().nodename, expected=expected, got=__version__,
            hint="Install the same one everywhere",
        )  # fmt: skip
