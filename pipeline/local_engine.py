"""The engine that works in this process, one task after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs independent tasks; results come as they are ready, in any order, with the position of their task."""

    @property
    def description(self) -> str: ...

    @property
    def retries(self) -> int:
        """Tasks that were given out again so far, because the worker that had them died."""
        ...

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Run the function that `make` returns (made once in each worker) on every task.

        Tasks are taken one by one, when they start; ``str`` of one is its name in errors."""
        ...

    def close(self) -> None: ...


class LocalEngine:
    """See the module docstring. `prepare` loads what tasks will need, before the first run."""

    description = "in this process"
    retries = 0

    def __init__(self, prepare: Callable[[], None] | None = None) -> None:
        if prepare is not None:
            prepare()

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        function = make()
        for position, task in enumerate(tasks):
            yield position, function(task)

    def close(self) -> None:
        """Nothing was opened."""
