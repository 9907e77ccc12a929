"""Statistics of samples, added up a batch of rows at a time: lengths, words, scripts, unknown tokens."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.padding import padding_waste
from pipeline.token_text import TokenText
from shards.columns import Columns
from shards.manifest import HISTOGRAM_BIN_TOKENS, separators_inside

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

I64 = npt.NDArray[np.int64]
LONGEST_WORD = 16  # longer words are counted as this long in the histograms, which then say "16+"


class CardStatistics:
    """See the module docstring. Memory is bounded by the vocabulary and one number a row."""

    def __init__(self, tokenizer: Tokenizer, max_seq_len: int) -> None:
        self._tokenizer, self._max_seq_len = tokenizer, max_seq_len
        self._text = TokenText(tokenizer)
        self._times = np.zeros(tokenizer.vocab_size, np.int64)
        self._lengths: list[I64] = []
        self._pairs = self._words = 0
        self._word_tokens: Counter[int] = Counter()
        self._word_characters: Counter[int] = Counter()

    def add(self, columns: Columns) -> None:
        """Count the given rows."""
        special = self._tokenizer.special_ids
        ids = columns.ids.astype(np.int64)
        self._times += np.bincount(ids, minlength=len(self._times))
        paired = columns.split > 0
        inside = separators_inside(self._tokenizer.pair_template)
        self._lengths.append(np.diff(columns.offsets) + 2 + paired * inside)
        self._pairs += int(paired.sum())

        starts = columns.word_start.copy()
        starts[columns.offsets[:-1]] = True
        begin = np.flatnonzero(starts)
        tokens = np.diff(begin, append=len(ids))
        words = ids[begin] != special.sep  # a separator stored in a sample is no word
        self._words += int(words.sum())
        self._word_tokens.update(_binned(tokens[words]))
        whole = words & (np.add.reduceat((ids == special.unk).astype(np.int64), begin) == 0)
        self._word_characters.update(_binned(np.add.reduceat(self._text.characters(ids), begin)[whole]))

    def summary(self) -> dict[str, Any]:
        """Return everything counted, as JSON. At least one row was added."""
        special = self._tokenizer.special_ids
        lengths = np.concatenate(self._lengths)
        text_times = self._times.copy()
        text_times[[i for i in special.as_tuple() if i != special.unk]] = 0
        tokens = int(text_times.sum())
        waste = padding_waste(lengths, self._max_seq_len)
        bounds, counts = np.unique(-(-lengths // HISTOGRAM_BIN_TOKENS) * HISTOGRAM_BIN_TOKENS, return_counts=True)
        return {
            "rows": len(lengths),
            "tokens": tokens,
            "words": self._words,
            "pairs": self._pairs,
            "lone_samples": len(lengths) - self._pairs,
            "pair_share": self._pairs / len(lengths),
            "unknown_tokens": int(self._times[special.unk]),
            "unknown_rate": int(self._times[special.unk]) / max(tokens, 1),
            "vocabulary_seen": int((text_times > 0).sum()),
            "mean_length": float(lengths.mean()),
            "lengths": {str(bound): count for bound, count in zip(bounds.tolist(), counts.tolist(), strict=True)},
            "tokens_per_word": _by_length(self._word_tokens),
            "characters_per_word": _by_length(self._word_characters),
            "scripts": self._text.scripts(text_times),
            "padding_waste": {"fixed": waste.fixed, "batches": waste.batches, "bins": waste.bins},
        }


def _binned(values: I64) -> dict[int, int]:
    counts = np.bincount(np.minimum(values, LONGEST_WORD), minlength=1)
    return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}


def _by_length(counts: Counter[int]) -> dict[str, int]:
    return {str(length): counts[length] for length in sorted(counts)}
