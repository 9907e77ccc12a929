"""A slot for each different short string, in whatever order and however often strings come; keys once each, even where they mix alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.key_table import distinct_keys, mix
from pipeline.slot_table import ROOM, SlotTable

words = st.text("abAB09éß甲\n", min_size=1, max_size=18)


class Learner:
    """Gives slots out in order, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.learnt: list[str] = []

    def __call__(self, strings: list[str]) -> NDArray[np.int64]:
        first = len(self.learnt)
        self.learnt += strings
        return np.arange(first, len(self.learnt))


def block(strings: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    data = [string.encode() for string in strings]
    sizes = np.array([len(raw) for raw in data], np.int64)
    return np.frombuffer(b"".join(data) + bytes(ROOM), np.uint8), np.cumsum(sizes) - sizes, sizes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(words, min_size=1, max_size=60), min_size=1, max_size=4), st.booleans())
def test_a_slot_for_each_string(blocks: list[list[str]], ascii_only: bool) -> None:
    learner = Learner()
    table = SlotTable(learner, ascii_only=ascii_only)
    for strings in blocks:
        slots, left_out = table.look_up(*block(strings))
        fits = [len(s.encode()) <= 16 and (s.isascii() or not ascii_only) for s in strings]
        assert sorted(left_out.tolist()) == [i for i, fit in enumerate(fits) if not fit]
        assert [learner.learnt[slots[i]] for i, fit in enumerate(fits) if fit] == [
            s for s, fit in zip(strings, fits, strict=True) if fit
        ]
    assert len(set(learner.learnt)) == len(learner.learnt)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=60), st.sampled_from([1, 2]))
def test_each_key_once(pairs: list[tuple[int, int]], columns: int) -> None:
    keys = tuple(np.array(column, np.uint64) for column in zip(*pairs, strict=True))[:columns]
    found = list(zip(*(column.tolist() for column in distinct_keys(*keys)), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == {pair[:columns] for pair in pairs}


def test_different_keys_that_mix_to_one_number() -> None:
    low, high = np.arange(1, 9, dtype=np.uint64), np.zeros(8, np.uint64)
    alone = low * np.uint64(0x9E3779B97F4A7C15)
    alone ^= alone >> np.uint64(32)
    high = alone[0] - alone  # wraps around: what makes up for the difference
    assert len(set(mix((low, high)).tolist())) == 1
    found = distinct_keys(np.tile(low, 3), np.tile(high, 3))
    assert set(zip(found[0].tolist(), found[1].tolist(), strict=True)) == set(zip(low.tolist(), high.tolist(), strict=True))
    assert len(found[0]) == 8
