"""Masks: the budget is met, words stay whole, shares are 80/10/10, special tokens are left alone, batches do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.columns import Columns
from shards.counter import U64, fold, fold_each
from shards.errors import UsageError
from shards.masks import Masked, MaskPolicy, choose
from tests.helpers.columns import SPECIAL, VOCAB_SIZE, made_columns


def keys_for(rows: int, seed: int = 1) -> U64:
    return fold_each(fold(seed), np.arange(rows, dtype=np.uint64))


def masked(columns: Columns, policy: MaskPolicy, seed: int = 1) -> Masked:
    return choose(columns, keys_for(len(columns), seed), policy, SPECIAL, VOCAB_SIZE)


def words_of(columns: Columns) -> np.ndarray:
    """Return the number of the word that each token belongs to; a border of a pair ends a word."""
    start = columns.word_start.copy()
    start[columns.offsets[:-1]] = True
    paired = np.flatnonzero(columns.split)
    start[columns.offsets[paired] + columns.split[paired]] = True
    return np.cumsum(start) - 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 1000), st.sampled_from([1, 3]), st.sampled_from([0.05, 0.15, 0.4]))
def test_words_are_whole_and_the_budget_holds(rows: int, seed: int, max_ngram: int, rate: float) -> None:
    columns = made_columns(rows, seed=seed)
    result = masked(columns, MaskPolicy(rate=rate, max_ngram=max_ngram))
    word = words_of(columns)
    chosen = np.isin(word, np.unique(word[result.index]))
    assert np.array_equal(np.flatnonzero(chosen), result.index), "a word is masked as a whole or not at all"
    lengths = np.diff(columns.offsets)
    row = np.searchsorted(columns.offsets, result.index, side="right") - 1
    count = np.bincount(row, minlength=rows)
    budget = np.maximum(1, np.rint(rate * lengths))
    assert (count >= 1).all()
    over = np.flatnonzero(count > budget)
    for i in over.tolist():  # only where nothing fitted: then a single unit was taken
        assert len(np.unique(word[result.index[row == i]])) <= max_ngram


def test_the_budget_is_filled_exactly_when_words_are_short() -> None:
    columns = made_columns(400, seed=5, longest=200)
    singles = Columns(
        ids=columns.ids, word_start=np.ones_like(columns.word_start), offsets=columns.offsets, split=columns.split,
        source_file=columns.source_file, source_row=columns.source_row,
    )  # fmt: skip
    row = np.searchsorted(singles.offsets, masked(singles, MaskPolicy()).index, side="right") - 1
    assert np.array_equal(np.bincount(row, minlength=400), np.maximum(1, np.rint(0.15 * np.diff(singles.offsets))))


def test_a_word_longer_than_the_budget_is_masked_when_there_is_no_other() -> None:
    columns = Columns(
        ids=np.arange(200, 206, dtype=np.uint16), word_start=np.array([1, 0, 0, 1, 0, 0], bool), offsets=np.array([0, 6]),
        split=np.zeros(1, np.uint16), source_file=np.zeros(1, np.uint32), source_row=np.ones(1, np.uint64),
    )  # fmt: skip
    assert masked(columns, MaskPolicy()).index.tolist() in ([0, 1, 2], [3, 4, 5])


def test_shares_are_as_published() -> None:
    columns = made_columns(4000, seed=2, longest=120)
    result = masked(columns, MaskPolicy())
    true_ids = columns.ids[result.index]
    total = len(result.index)
    to_mask = (result.replacement == SPECIAL.mask).mean()
    kept = (result.replacement == true_ids).mean()
    error = 4 * np.sqrt(0.25 / total)
    assert abs(total / len(columns.ids) - 0.15) < 0.01
    assert abs(to_mask - 0.8) < error
    assert abs(kept - 0.1) < error
    random = result.replacement[(result.replacement != SPECIAL.mask) & (result.replacement != true_ids)]
    assert not np.isin(random, SPECIAL.as_tuple()).any()
    assert random.min() < 200 and random.max() > VOCAB_SIZE - 200, "random tokens come from the whole vocabulary"


def test_per_word_draws_once_for_a_word() -> None:
    columns = made_columns(500, seed=3)
    result = masked(columns, MaskPolicy(per_word=True))
    word = words_of(columns)[result.index]
    to_mask = result.replacement == SPECIAL.mask
    for number in np.unique(word).tolist():
        assert len(set(to_mask[word == number].tolist())) == 1


def test_separators_inside_a_sample_are_never_masked() -> None:
    columns = made_columns(300, seed=4)
    ids, starts = columns.ids.copy(), columns.word_start.copy()
    ids[5::7], starts[5::7] = SPECIAL.sep, True
    starts[6::7] = True
    packed = Columns(
        ids=ids, word_start=starts, offsets=columns.offsets, split=np.zeros(300, np.uint16), source_file=columns.source_file,
        source_row=columns.source_row,
    )  # fmt: skip
    for ngram in (1, 3):
        assert not (ids[masked(packed, MaskPolicy(max_ngram=ngram)).index] == SPECIAL.sep).any()


def test_a_sample_of_separators_only_has_no_mask() -> None:
    columns = Columns(
        ids=np.full(3, SPECIAL.sep, np.uint16), word_start=np.ones(3, bool), offsets=np.array([0, 3]), split=np.zeros(1, np.uint16),
        source_file=np.zeros(1, np.uint32), source_row=np.ones(1, np.uint64),
    )  # fmt: skip
    assert not len(masked(columns, MaskPolicy()).index)


def test_ngrams_have_the_lengths_asked_for() -> None:
    columns = made_columns(3000, seed=6, longest=300)
    word = words_of(columns)
    chosen = np.unique(word[masked(columns, MaskPolicy(max_ngram=3)).index])
    alone = np.unique(word[masked(columns, MaskPolicy(max_ngram=1)).index])
    assert (np.diff(chosen) == 1).mean() > (np.diff(alone) == 1).mean() + 0.2, "runs of words are masked together"


def test_masks_do_not_depend_on_the_batch() -> None:
    columns = made_columns(64, seed=8)
    keys = keys_for(64)
    whole = choose(columns, keys, MaskPolicy(), SPECIAL, VOCAB_SIZE)
    for i in (0, 17, 63):
        begin, end = int(columns.offsets[i]), int(columns.offsets[i + 1])
        one = Columns(
            ids=columns.ids[begin:end], word_start=columns.word_start[begin:end], offsets=np.array([0, end - begin]),
            split=columns.split[i : i + 1], source_file=columns.source_file[i : i + 1], source_row=columns.source_row[i : i + 1],
        )  # fmt: skip
        alone = choose(one, keys[i : i + 1], MaskPolicy(), SPECIAL, VOCAB_SIZE)
        here = (whole.index >= begin) & (whole.index < end)
        assert np.array_equal(whole.index[here] - begin, alone.index)
        assert np.array_equal(whole.replacement[here], alone.replacement)


def test_masks_change_with_the_key() -> None:
    columns = made_columns(50, seed=9)
    assert not np.array_equal(masked(columns, MaskPolicy(), 1).index, masked(columns, MaskPolicy(), 2).index)


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"rate": 1.0}, {"max_ngram": 0}, {"mask_share": 0.9, "random_share": 0.2}])
def test_impossible_policies_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        MaskPolicy(**wrong)  # type: ignore[arg-type]
