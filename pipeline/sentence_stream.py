"""The sentences of many documents as flat arrays: what layouts cut samples from.

Legend: T tokens, S sentences, D documents; sentence s is tokens ``offsets[s]:offsets[s + 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.columns import Ids
from shards.reader import gather_index, starts

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SentenceStream:
    """ids: uint16 or uint32[T]; word_start: bool[T]; offsets: int64[S + 1]; document and row: int64[S], both ascending.

    No sentence is empty. `row` is the 1-based row of the input file that the sentence begins in.
    """

    ids: Ids
    word_start: npt.NDArray[np.bool_]
    offsets: I64
    document: I64
    row: I64

    def __len__(self) -> int:
        return len(self.row)

    def select(self, sentences: I64) -> SentenceStream:
        """Return the given sentences, in the given order."""
        index, offsets = gather_index(self.offsets, sentences)
        return SentenceStream(
            ids=self.ids[index], word_start=self.word_start[index], offsets=offsets,
            document=self.document[sentences], row=self.row[sentences],
        )  # fmt: skip

    def without_empty(self) -> SentenceStream:
        """Return the stream without sentences of no tokens."""
        full = np.flatnonzero(np.diff(self.offsets))
        return self if len(full) == len(self) else self.select(full)

    def cut_to(self, max_tokens: int) -> SentenceStream:
        """Return the stream with long sentences cut at the last word start that fits; the rest is the next sentence."""
        lengths = np.diff(self.offsets)
        if not len(lengths) or int(lengths.max()) <= max_tokens:
            return self
        cuts: list[int] = []
        owner: list[int] = []
        for sentence in np.flatnonzero(lengths > max_tokens).tolist():
            begin, end = int(self.offsets[sentence]), int(self.offsets[sentence + 1])
            while end - begin > max_tokens:
                heads = np.flatnonzero(self.word_start[begin + 1 : begin + max_tokens + 1])
                begin += int(heads[-1]) + 1 if len(heads) else max_tokens  # a single word longer than a sample is cut inside
                cuts.append(begin)
                owner.append(sentence)
        offsets = np.sort(np.concatenate([self.offsets, np.asarray(cuts, np.int64)]))
        source = np.sort(np.concatenate([np.arange(len(self)), np.asarray(owner, np.int64)]))
        word_start = self.word_start.copy()
        word_start[np.asarray(cuts)] = True
        return SentenceStream(
            ids=self.ids, word_start=word_start, offsets=offsets, document=self.document[source], row=self.row[source]
        )


def join(streams: Sequence[SentenceStream]) -> SentenceStream:
    """Return several streams as one."""
    lengths: I64 = np.concatenate([np.diff(s.offsets) for s in streams])
    return SentenceStream(
        ids=np.concatenate([s.ids for s in streams]),
        word_start=np.concatenate([s.word_start for s in streams]),
        offsets=starts(lengths),
        document=np.concatenate([s.document for s in streams]),
        row=np.concatenate([s.row for s in streams]),
    )
