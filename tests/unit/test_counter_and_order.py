"""Random numbers and order are functions of their keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.counter import below, fold, fold_each, mix64, uniform
from shards.errors import UsageError
from shards.odometer import combine, odometer_sum, sample_ids, shard_odometer
from shards.order import Permutation, SampleOrder


def test_fold_depends_on_every_part_and_on_their_order() -> None:
    keys = {fold(1, 2, 3), fold(3, 2, 1), fold(1, 2), fold(1, 2, 3, 0), fold(0, 1, 2, 3), fold(-1, 2, 3)}
    assert len(keys) == 6


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_fold_each_is_fold_vectorised(part: int, values: list[int]) -> None:
    each = fold_each(fold(part), np.array(values, np.uint64)).tolist()
    assert each == [fold(part, value) for value in values]


def test_mix64_keeps_its_values() -> None:
    # The first outputs of SplitMix64 from seed 0, as its authors' C code prints them.
    golden = np.uint64(0x9E3779B97F4A7C15)
    counters = np.arange(1, 4, dtype=np.uint64) * golden
    assert [f"{v:016x}" for v in mix64(counters).tolist()] == ["e220a8397b1dcdaf", "6e789e6aa1b965f4", "06c45d188009454f"]


def test_uniform_and_below_cover_their_range_evenly() -> None:
    bits = fold_each(fold(7), np.arange(100_000, dtype=np.uint64))
    share = uniform(bits)
    assert share.min() >= 0.0 and share.max() < 1.0
    counts = np.bincount(below(bits, 10), minlength=10)
    assert counts.sum() == 100_000
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)


@settings(max_examples=60)
@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
def test_a_permutation_visits_everything_once(size: int, key: int) -> None:
    image = Permutation(size, key).at(np.arange(size))
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permutations_differ_by_key_and_scatter() -> None:
    first, second = (Permutation(10_000, fold(k)).at(np.arange(10_000)) for k in (1, 2))
    assert (first == second).mean() < 0.01
    assert (first == np.arange(10_000)).mean() < 0.01
    assert abs(np.corrcoef(first, np.arange(10_000))[0, 1]) < 0.05


def test_epochs_are_permutations_and_positions_can_be_asked_in_any_order() -> None:
    order = SampleOrder(101, seed=3)
    epochs, indices = order.at(np.arange(303))
    assert np.array_equal(epochs, np.repeat([0, 1, 2], 101))
    for epoch in range(3):
        assert sorted(indices[epochs == epoch].tolist()) == list(range(101))
    assert not np.array_equal(indices[:101], indices[101:202])
    backwards = np.arange(303)[::-1]
    assert np.array_equal(SampleOrder(101, seed=3).at(backwards)[1][::-1], indices)


def test_seeking_far_touches_nothing_before() -> None:
    order = SampleOrder(10**9, seed=5)
    positions = np.arange(10**6 * 128, 10**6 * 128 + 128)
    epochs, indices = order.at(positions)
    assert (epochs == 0).all() and len(set(indices.tolist())) == 128 and 0 <= indices.min() <= indices.max() < 10**9


def test_an_empty_set_has_no_order() -> None:
    with pytest.raises(UsageError, match="empty"):
        SampleOrder(0, seed=1)


def test_the_odometer_forgets_order_and_notices_loss_and_doubling() -> None:
    ids = sample_ids(3, np.arange(1000, dtype=np.uint64))
    shuffled = ids[Permutation(1000, 9).at(np.arange(1000))]
    whole = odometer_sum(ids)
    assert odometer_sum(shuffled) == whole == shard_odometer(3, 1000)
    assert combine([odometer_sum(ids[:400]), odometer_sum(ids[400:])]) == whole
    assert odometer_sum(ids[1:]) != whole
    assert odometer_sum(np.append(ids[1:], ids[1])) != whole
