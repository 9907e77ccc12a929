"""Turns of a benchmark that count only when the machine was calm.

On a rented machine memory is shared with strangers: a look-up that misses the caches takes 100 ns in one minute and 600 in the
next, and then every figure is one of the neighbours. So a look-up is timed before and after each turn, and a turn is taken again
when either was slow. What was thrown away is counted and printed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

_KEYS, _ROUNDS = 200_000, 5
_WAIT_S = 5.0
_T = TypeVar("_T")


def lookup_ns() -> float:
    """Return the nanoseconds of processor time that a random look-up in a dictionary of 20 MB takes."""
    table = {key: key for key in range(_KEYS)}
    keys = [(key * 7919) % _KEYS for key in range(_KEYS)]
    rounds = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for key in keys:
            table[key]
        rounds.append(time.process_time() - begun)
    return statistics.median(rounds) / _KEYS * 1e9


@dataclass(kw_only=True)
class CalmTurns:
    """max_lookup_ns: None takes every turn as it comes. patience_s: how long to wait for calm, over all turns."""

    max_lookup_ns: float | None
    patience_s: float = 3600.0
    thrown_away: int = 0
    probe: Callable[[], float] = lookup_ns
    _begun: float = field(default_factory=time.monotonic)

    def take(self, measure: Callable[[], _T]) -> _T:
        """Return what `measure` finds in a calm turn. Raises SystemExit when patience is over."""
        while True:
            while not self._calm():
                time.sleep(_WAIT_S)
            found = measure()
            if self._calm():
                return found
            self.thrown_away += 1

    def _calm(self) -> bool:
        if self.max_lookup_ns is None:
            return True
        found = self.probe()
        if found <= self.max_lookup_ns:
            return True
        if time.monotonic() - self._begun > self.patience_s:
            raise SystemExit(
                f"the machine was not calm for long enough: a look-up takes {found:.0f} ns, expected at most {self.max_lookup_ns:.0f}; "
                f"{self.thrown_away} turns thrown away in {self.patience_s / 60:.0f} minutes"
            )
        return False
