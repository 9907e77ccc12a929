"""Layouts: no token is lost or doubled, samples fit, segments and documents keep apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.layouts import LayoutKey, full, line, pairs
from pipeline.sentence_stream import SentenceStream, join
from shards.reader import starts

SEPARATOR = 3
KEY = LayoutKey(seed=1, file_index=0, first_row=1)

documents_of_lengths = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=30)


def stream_of(documents: list[list[int]]) -> SentenceStream:
    """Return a stream of sentences of the given token counts; tokens are numbered, so that each can be found again."""
    lengths = np.array([n for d in documents for n in d], np.int64)
    tokens = int(lengths.sum())
    return SentenceStream(
        ids=(10 + np.arange(tokens)).astype(np.uint32), word_start=np.arange(tokens) % 3 == 0, offsets=starts(lengths),
        document=np.repeat(np.arange(len(documents)), [len(d) for d in documents]), row=1 + np.arange(len(lengths)),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(documents_of_lengths, st.integers(8, 50), st.sampled_from([0.0, 0.1, 1.0]))
def test_pairs_keep_every_token_once_and_in_order(documents: list[list[int]], max_tokens: int, short: float) -> None:
    stream = stream_of(documents).cut_to(max_tokens)
    columns = pairs(stream, max_tokens, short, KEY, 7)
    assert np.array_equal(columns.ids, stream.ids)
    lengths = np.diff(columns.offsets)
    assert lengths.min() >= 1 and lengths.max() <= max_tokens
    borders = set(stream.offsets.tolist())
    document_of = dict(zip(stream.offsets[:-1].tolist(), stream.document.tolist(), strict=True))
    for i, split in enumerate(columns.split.tolist()):
        begin, end = int(columns.offsets[i]), int(columns.offsets[i + 1])
        inside = [o for o in stream.offsets[:-1].tolist() if begin <= o < end]
        assert begin in borders and len({document_of[o] for o in inside}) == 1, "a sample is whole sentences of one document"
        assert (split > 0) == (len(inside) > 1), "two sentences make a pair, one stands alone"
        assert split == 0 or begin + split in inside[1:], "the border of a pair is one between sentences"
        assert columns.source_row[i] == stream.row[stream.offsets.tolist().index(begin)]
    assert (columns.source_file == 7).all()


def test_a_single_sentence_stands_alone_only_when_it_must() -> None:
    stream = stream_of([[10, 10, 10, 10]] * 200)
    columns = pairs(stream, 40, 1.0, KEY, 0)
    alone = np.diff(columns.offsets)[columns.split == 0]
    assert (columns.split > 0).mean() > 0.6
    assert set(alone.tolist()) <= {10}


def test_short_samples_are_as_frequent_as_asked() -> None:
    stream = stream_of([[4] * 200] * 60)
    lengths = np.diff(pairs(stream, 100, 0.1, KEY, 0).offsets)
    never = np.diff(pairs(stream, 100, 0.0, KEY, 0).offsets)
    assert (never < 97).mean() < 0.02, "without short samples only the end of a document is short"
    assert 0.06 < (lengths < 93).mean() < 0.16


def test_pairs_depend_on_the_seed_and_on_nothing_else() -> None:
    stream = stream_of([[5] * 50] * 20)
    first = pairs(stream, 64, 0.1, KEY, 0)
    again = pairs(stream, 64, 0.1, KEY, 0)
    other = pairs(stream, 64, 0.1, LayoutKey(seed=2, file_index=0, first_row=1), 0)
    assert np.array_equal(first.split, again.split) and np.array_equal(first.offsets, again.offsets)
    assert not np.array_equal(first.split, other.split)


@settings(max_examples=60, deadline=None)
@given(documents_of_lengths, st.integers(8, 50))
def test_full_packs_over_documents_with_separators(documents: list[list[int]], max_tokens: int) -> None:
    stream = stream_of(documents).cut_to(max_tokens)
    columns = full(stream, max_tokens, SEPARATOR, 0)
    assert np.array_equal(columns.ids[columns.ids != SEPARATOR], stream.ids)
    assert columns.word_start[columns.ids == SEPARATOR].all()
    assert np.diff(columns.offsets).max() <= max_tokens and not columns.split.any()
    document_of = np.repeat(stream.document, np.diff(stream.offsets))
    for i in range(len(columns)):
        ids = columns.ids[columns.offsets[i] : columns.offsets[i + 1]].astype(np.int64)
        assert ids[0] != SEPARATOR and ids[-1] != SEPARATOR
        owner = np.where(ids == SEPARATOR, -1, document_of[np.maximum(ids - 10, 0)])
        for left, right in zip(owner[:-1].tolist(), owner[1:].tolist(), strict=True):
            assert -1 in (left, right) or left == right, "documents touch only across a separator"


def test_full_fills_samples() -> None:
    columns = full(stream_of([[3, 4, 5]] * 300), 60, SEPARATOR, 0)
    assert np.diff(columns.offsets)[:-1].min() > 54


def test_line_makes_a_sample_of_each_line() -> None:
    stream = stream_of([[5, 7], [9]])
    columns = line(stream, 2)
    assert np.diff(columns.offsets).tolist() == [5, 7, 9] and not columns.split.any()
    assert columns.source_row.tolist() == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(documents_of_lengths, st.integers(4, 30))
def test_long_sentences_are_cut_at_words_and_go_on(documents: list[list[int]], max_tokens: int) -> None:
    stream = stream_of(documents)
    cut = stream.cut_to(max_tokens)
    assert np.array_equal(cut.ids, stream.ids) and np.diff(cut.offsets).max() <= max_tokens
    assert set(stream.offsets.tolist()) <= set(cut.offsets.tolist())
    for begin in set(cut.offsets[:-1].tolist()) - set(stream.offsets.tolist()):
        assert stream.word_start[begin], "words here are three tokens long, so a cut always finds a border"


def test_a_word_longer_than_a_sample_is_cut_inside() -> None:
    stream = SentenceStream(
        ids=np.arange(25, dtype=np.uint16),
        word_start=np.arange(25) == 0,
        offsets=np.array([0, 25]),
        document=np.array([0]),
        row=np.array([1]),
    )
    cut = stream.cut_to(10)
    assert cut.offsets.tolist() == [0, 10, 20, 25] and cut.word_start[[0, 10, 20]].all()


def test_streams_join_and_select() -> None:
    first, second = stream_of([[2, 3]]), stream_of([[4]])
    both = join([first, second])
    assert np.diff(both.offsets).tolist() == [2, 3, 4]
    assert both.select(np.array([2, 0])).ids.tolist() == [10, 11, 12, 13, 10, 11]
    with pytest.raises(IndexError):
        both.select(np.array([9]))
