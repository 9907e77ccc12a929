"""Sentences → samples, in three layouts; every token of the stream lands in exactly one sample.

pairs  consecutive sentences of one document up to a target length; with two or more, a random border between two of them
       parts segment A from segment B. The target is the longest that fits, or for a share of `short_seq_prob` of the samples
       a random shorter one (as BERT, so that short inputs are seen in training). What is alone stays alone: ``split`` 0.
full   consecutive sentences packed to the length, over the borders of documents, which a separator token marks.
line   one line of input, one sample.

Everything random is keyed by (seed, file, first row of the unit, number of the sentence), so that a unit comes out the same
wherever and whenever it is built.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.sentence_stream import SentenceStream
from shards.columns import Columns
from shards.counter import Purpose, below, fold, fold_each, uniform

I64 = npt.NDArray[np.int64]
MIN_SHORT_TOKENS = 2


@dataclass(frozen=True, kw_only=True)
class LayoutKey:
    """What keys the random choices of one unit."""

    seed: int
    file_index: int
    first_row: int

    def of(self, purpose: Purpose) -> int:
        return fold(self.seed, purpose, self.file_index, self.first_row)


def pairs(stream: SentenceStream, max_tokens: int, short_seq_prob: float, key: LayoutKey, file_index: int) -> Columns:
    """Lay out pairs of up to `max_tokens` tokens; sentences must not be longer than that."""
    number = np.arange(len(stream), dtype=np.uint64)
    short_bits = fold_each(key.of(Purpose.SHORT), number)
    target = MIN_SHORT_TOKENS + below(fold_each(short_bits, 1), max_tokens - MIN_SHORT_TOKENS + 1)
    targets = np.where(uniform(short_bits) < short_seq_prob, target, max_tokens).tolist()
    # One pass over samples with plain integers: a sample is a handful of sentences, too few for array calls to pay.
    ends: list[int] = stream.offsets.tolist()
    borders = np.flatnonzero(np.diff(stream.document)) + 1
    last: list[int] = np.append(borders, len(stream))[np.searchsorted(borders, number.astype(np.int64), side="right")].tolist()
    firsts: list[int] = []
    sentence, count = 0, len(stream)
    while sentence < count:
        firsts.append(sentence)
        begin, document_end = ends[sentence], last[sentence]
        after = bisect_right(ends, begin + targets[sentence], sentence + 1, document_end + 1) - 1
        # A short target must not leave one sentence alone where two fit: alone it could teach no order.
        if after <= sentence + 1:
            after = sentence + 2 if sentence + 1 < document_end and ends[sentence + 2] - begin <= max_tokens else sentence + 1
        sentence = after
    first = np.asarray(firsts, np.int64)
    sentences = np.diff(first, append=count)
    border = 1 + below(fold_each(key.of(Purpose.SPLIT), first.astype(np.uint64)), np.maximum(sentences - 1, 1))
    middle = np.minimum(first + border, count)  # of a sample that stands alone nothing is read from here
    split = np.where(sentences > 1, stream.offsets[middle] - stream.offsets[first], 0)
    return _columns(stream, first, split, file_index)


def full(stream: SentenceStream, max_tokens: int, separator_id: int, file_index: int) -> Columns:
    """Pack sentences to `max_tokens`, a separator token between documents inside a sample."""
    firsts: list[int] = []
    gaps: list[int] = []
    lengths, documents = np.diff(stream.offsets).tolist(), stream.document.tolist()
    room = 0
    for sentence, tokens in enumerate(lengths):
        crosses = sentence > 0 and documents[sentence] != documents[sentence - 1]
        if sentence == 0 or tokens + crosses > room:
            firsts.append(sentence)
            room = max_tokens
        elif crosses:
            gaps.append(int(stream.offsets[sentence]))
            room -= 1
        room -= tokens
    marked = SentenceStream(
        ids=np.insert(stream.ids, gaps, separator_id),
        word_start=np.insert(stream.word_start, gaps, True),
        offsets=stream.offsets + np.searchsorted(np.asarray(gaps, np.int64), stream.offsets, side="left"),
        document=stream.document,
        row=stream.row,
    )
    first = np.asarray(firsts, np.int64)
    return _columns(marked, first, np.zeros(len(first), np.int64), file_index)


def line(stream: SentenceStream, file_index: int) -> Columns:
    """Make each sentence of the stream (which then holds whole lines) a sample."""
    first = np.arange(len(stream), dtype=np.int64)
    return _columns(stream, first, np.zeros(len(stream), np.int64), file_index)


def _columns(stream: SentenceStream, first: I64, split: I64, file_index: int) -> Columns:
    return Columns(
        ids=stream.ids,
        word_start=stream.word_start,
        offsets=np.append(stream.offsets[first], stream.offsets[-1]),
        split=split.astype(np.uint16),
        source_file=np.full(len(first), file_index, np.uint32),
        source_row=stream.row[first].astype(np.uint64),
    )
