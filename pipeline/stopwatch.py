"""How long each part of the work took, for the data card."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up seconds by name; a stretch measured inside another counts for its own name alone."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside_s = 0.0

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Count the block for `name`."""
        begun = self._begin()
        try:
            yield
        finally:
            self._end(name, *begun)

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; count the making of each for `name`."""
        iterator = iter(items)
        while True:
            begun = self._begin()  # without `measure`, whose cost would be felt: there are thousands of items a second
            try:
                item = next(iterator, None)
            finally:
                self._end(name, *begun)
            if item is None:
                return
            yield item

    def _begin(self) -> tuple[float, float]:
        outside_s, self._inside_s = self._inside_s, 0.0
        return time.perf_counter(), outside_s

    def _end(self, name: str, begun: float, outside_s: float) -> None:
        took_s = time.perf_counter() - begun
        self.seconds[name] += took_s - self._inside_s  # type: ignore[assignment]  # a Counter of floats
        self._inside_s = outside_s + took_s
