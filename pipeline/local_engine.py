"""The engine that works in this process, one task after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs independent tasks; results come as they are ready, in any order, with the position of their task."""

    @property
    def description(self) -> str: ...

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run the function that `make` returns (made once in each worker) on every task."""
        ...

    def close(self) -> None: ...


class LocalEngine:
    """See the module docstring."""

    description = "in this process"

    def run(self, make: Callable[[], Callable[[Task], Result]], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        function = make()
        for position, task in enumerate(tasks):
            yield position, function(task)

    def close(self) -> None:
        """Nothing was opened."""
