"""Blocks, mixtures, bins and packed rows: each visits what it should, where it should, from anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.bins import plan_edges
from shards.counter import fold
from shards.errors import UsageError
from shards.mix_weights import parse_mix
from shards.mixture import SLOTS, Mixture, slot_counts
from shards.order import WINDOW_BLOCKS, BlockPermutation, Permutation, SampleOrder, permute_each
from shards.packing import Packing


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_a_block_permutation_visits_everything_once(size: int, block: int, key: int) -> None:
    order = BlockPermutation(size, block, key)
    image = order.at(np.arange(size))
    assert np.array_equal(np.sort(image), np.arange(size))
    assert np.array_equal(order.at(np.arange(size)[::-1]), image[::-1])


def test_blocks_are_read_as_neighbours_and_begin_elsewhere_each_epoch() -> None:
    block, size = 16, 100_000
    order = SampleOrder(size, 3, block=block)
    windows = [order.at(np.arange(begin, begin + block * WINDOW_BLOCKS))[1] for begin in (0, size)]
    for rows in windows:
        runs = np.flatnonzero(np.diff(np.sort(rows)) != 1)
        assert len(runs) <= WINDOW_BLOCKS, "a window reads that many blocks, whole"
        assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 0.2
    assert len({int(np.sort(rows)[0]) % block for rows in windows}) == 2


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(0, 2**64 - 1)), min_size=1, max_size=30))
def test_permute_each_is_a_permutation_of_each_size(pairs: list[tuple[int, int]]) -> None:
    sizes, keys = np.array([size for size, _ in pairs], np.int64), np.array([key for _, key in pairs], np.uint64)
    positions = sizes - 1
    expected = [int(Permutation(size, key).at(np.array([size - 1]))[0]) for size, key in pairs]
    assert permute_each(positions, sizes, keys).tolist() == expected


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9))
def test_slots_are_shared_out_by_largest_remainder(weights: list[float]) -> None:
    counts = slot_counts(weights)
    assert sum(counts) == SLOTS
    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - SLOTS * weight / sum(weights)) < 1 + 1e-6


def test_a_mixture_counts_its_sets_from_anywhere() -> None:
    mixture = Mixture({"a": 1.0, "b": 2.0, "c": 0.25}, seed=5)
    positions = np.arange(3 * SLOTS)
    which, own = mixture.at(positions)
    for i in range(3):
        assert np.array_equal(own[which == i], np.arange(int((which == i).sum()))), "each set is gone through in order"
    for position in (0, 1, 77, SLOTS, 2 * SLOTS + 12345):
        assert mixture.own_positions(position).tolist() == np.bincount(which[:position], minlength=3).tolist()
    far = Mixture({"a": 1.0, "b": 2.0, "c": 0.25}, seed=5)
    assert np.array_equal(far.at(positions[-9:])[1], own[-9:])
    assert abs((which[:5000] == 1).mean() - 2 / 3.25) < 0.03
    assert not np.array_equal(which[:SLOTS], which[SLOTS : 2 * SLOTS])


@pytest.mark.parametrize("text", ["", "a", "a=", "a=x", "a=0", "a=-1", "a=inf", "=1", "a=1,a=2", "a=1,,b=1"])
def test_what_is_no_mixture_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--mix"):
        parse_mix(text)


def test_a_weight_without_a_slot_is_refused() -> None:
    assert parse_mix(" a=1, b.c=0.5") == {"a": 1.0, "b.c": 0.5}
    with pytest.raises(UsageError, match="weight of 'b'"):
        Mixture({"a": 1e9, "b": 1.0}, seed=0)


def padding(histogram: dict[int, int], edges: tuple[int, ...]) -> int:
    return sum(count * (min(e for e in edges if e >= bound) - bound) for bound, count in histogram.items())


@given(st.dictionaries(st.integers(1, 32).map(lambda n: 16 * n), st.integers(1, 1000), min_size=1, max_size=8), st.integers(1, 9))
def test_edges_waste_least(histogram: dict[int, int], bins: int) -> None:
    import itertools

    edges = plan_edges(histogram, bins)
    bounds = sorted(histogram)
    assert edges[-1] == bounds[-1] and list(edges) == sorted(set(edges)) and len(edges) <= bins
    best = min(
        padding(histogram, (*chosen, bounds[-1]))
        for size in range(min(bins, len(bounds)))
        for chosen in itertools.combinations(bounds[:-1], size)
    )
    assert padding(histogram, edges) == best


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(3, 64), min_size=1, max_size=400), st.integers(0, 5))
def test_packed_rows_hold_every_sample_once_and_fit(lengths: list[int], seed: int) -> None:
    lengths_N = np.array(lengths, np.int64)
    packing = Packing.plan(lengths_N, 64)
    rows = np.arange(packing.rows)
    for epoch in (0, 1):
        samples, offsets = packing.expand(np.full(packing.rows, epoch), rows, seed)
        assert np.array_equal(np.sort(samples), np.arange(len(lengths)))
        tokens = np.add.reduceat(lengths_N[samples], offsets[:-1])
        assert tokens.max() <= 64 and np.array_equal(tokens, packing.tokens(rows))
    some = np.array([packing.rows - 1, 0])
    samples, offsets = packing.expand(np.full(2, 1), some, seed)
    whole, whole_offsets = packing.expand(np.full(packing.rows, 1), rows, seed)
    assert samples[: offsets[1]].tolist() == whole[whole_offsets[-2] :].tolist()


def test_rows_are_nearly_full_and_filled_otherwise_each_epoch() -> None:
    lengths = 8 + Permutation(50_000, fold(1)).at(np.arange(50_000)) % 120
    packing = Packing.plan(lengths, 128)
    assert packing.filled > 0.97
    first, second = (packing.expand(np.full(100, epoch), np.arange(100), 0)[0] for epoch in (0, 1))
    assert (first == second).mean() < 0.1
    with pytest.raises(UsageError, match="at most 100 tokens, got 127"):
        Packing.plan(lengths, 100)
