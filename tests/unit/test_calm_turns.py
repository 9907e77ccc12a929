"""A turn of a benchmark counts only when the machine was calm before and after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmarks.calm import CalmTurns


def probe(*found: float) -> Callable[[], float]:
    return iter(found).__next__


def test_a_turn_that_ended_in_trouble_is_taken_again() -> None:
    turns = CalmTurns(max_lookup_ns=150.0, probe=probe(100, 400, 100, 120))
    results = iter(["disturbed", "calm"])
    assert turns.take(lambda: next(results)) == "calm"
    assert turns.thrown_away == 1


def test_without_a_limit_every_turn_counts() -> None:
    turns = CalmTurns(max_lookup_ns=None, probe=probe())
    assert turns.take(lambda: 7) == 7
    assert turns.thrown_away == 0


def test_patience_ends() -> None:
    turns = CalmTurns(max_lookup_ns=150.0, patience_s=0.0, probe=probe(900))
    with pytest.raises(SystemExit, match="900 ns, expected at most 150"):
        turns.take(lambda: 7)
