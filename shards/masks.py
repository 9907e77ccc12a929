"""Which tokens of a batch are predicted, and what stands in their place: whole words, an exact budget, all rows at once.

Each row has a budget of ``max(1, round(rate · n))`` of its n maskable tokens. Its words (or n-grams of words) are put in a
random order and taken while they fit; a word that does not fit is passed over for later, shorter ones, so that the budget is
filled. If none fits at all, the shortest is taken. Of the tokens taken, 80 % become ``[MASK]``, 10 % a random token that is
no special one, and 10 % stay (BERT, Devlin et al. 2019, §3.1), drawn for each token or for each word.

All draws are keyed by (row key, purpose, position), so that masks depend neither on the batch a row is in nor on its
neighbours. Cost: one sort of the batch's words.

Legend: N rows, T tokens of all rows, W words (or n-grams), M masked tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.columns import Columns
from shards.counter import U64, Purpose, fold, fold_each, mix64, uniform
from shards.errors import UsageError
from shards.manifest import SpecialIds
from shards.mask_rate import MAX_NGRAM

I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_MAX_ROWS = 1 << 16
# Share of the words that is looked at first: enough that most rows are done with it.
_EARLY_SLOPE, _EARLY_SHARE = 1.5, 0.02


@dataclass(frozen=True, kw_only=True)
class MaskPolicy:
    """How tokens are chosen and replaced.

    rate: share of the maskable tokens to predict; max_ngram: words are taken in runs of 1 to this many, with p ∝ 1/n;
    per_word: draw mask, random or keep once for a word instead of for each of its tokens.
    """

    rate: float = 0.15
    max_ngram: int = 1
    per_word: bool = False
    mask_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise UsageError(f"the mask rate must lie between 0 and 1, got {self.rate}")
        if not 1 <= self.max_ngram <= MAX_NGRAM:
            raise UsageError(f"n-grams must be of 1 to {MAX_NGRAM} words, got {self.max_ngram}")
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise UsageError(
                f"shares of masked and random tokens must add up to at most 1, got {self.mask_share} + {self.random_share}"
            )


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Masked tokens, ascending: `index` int64[M] into the flat ids, `replacement` int64[M], what the model sees there."""

    index: I64
    replacement: I64


@dataclass(frozen=True)
class _Words:
    """W units that are masked or left as a whole, in natural order."""

    begin: I64  # flat index of the first token
    length: I64  # tokens
    row: I64
    draw: U64


def choose(columns: Columns, row_keys: U64, policy: MaskPolicy, special_ids: SpecialIds, vocab_size: int) -> Masked:
    """Choose and replace the masked tokens of N rows; `row_keys` uint64[N] carry seed, epoch and sample."""
    rows = len(columns)
    if rows > _MAX_ROWS:
        raise UsageError(f"at most {_MAX_ROWS} rows are masked at once, got {rows}")
    words = _words(columns, row_keys, policy.max_ngram, special_ids)
    maskable = np.bincount(words.row, weights=words.length, minlength=rows)
    budget = np.maximum(1, np.rint(policy.rate * maskable)).astype(np.int64)
    taken = np.flatnonzero(_take(words, budget, policy.rate))
    length = words.length[taken]
    ends = np.cumsum(length)
    within = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64) - np.repeat(ends - length, length)
    index = np.repeat(words.begin[taken], length) + within
    row = np.repeat(words.row[taken], length)
    first = index - within if policy.per_word else index
    keys = fold_each(row_keys, int(Purpose.MASK_KIND))[row]
    bits = fold_each(keys, (first - columns.offsets[row]).astype(np.uint64))
    return Masked(index=index, replacement=_replace(columns.ids[index].astype(np.int64), bits, policy, special_ids, vocab_size))


def _words(columns: Columns, row_keys: U64, max_ngram: int, special_ids: SpecialIds) -> _Words:
    offsets = columns.offsets
    start = columns.word_start.copy()
    start[offsets[:-1]] = True
    paired = np.flatnonzero(columns.split)
    start[offsets[paired] + columns.split[paired]] = True  # no word reaches over the border of a pair
    begin = np.flatnonzero(start)
    length = np.diff(begin, append=offsets[-1])
    row = np.repeat(np.arange(len(columns)), np.diff(np.searchsorted(begin, offsets)))
    # Separators stored inside a sample (layout `full`) are never masked; an unknown token is a word like any other.
    forbidden = [special_ids.pad, special_ids.cls, special_ids.sep, special_ids.mask]
    first = columns.ids[begin]
    usable = np.ones(len(begin), np.bool_)
    for token in forbidden:
        usable &= first != token
    if max_ngram > 1:
        begin, length, row, usable = _ngrams(columns, row_keys, max_ngram, begin, length, row, usable)
    if not usable.all():
        begin, length, row = begin[usable], length[usable], row[usable]
    keys = fold_each(row_keys, int(Purpose.MASK_ORDER))[row]
    return _Words(begin, length, row, fold_each(keys, (begin - offsets[row]).astype(np.uint64)))


def _ngrams(
    columns: Columns, row_keys: U64, max_ngram: int, begin: I64, length: I64, row: I64, usable: Flags
) -> tuple[I64, I64, I64, Flags]:
    """Join consecutive words into runs whose lengths are drawn with p(n) ∝ 1/n; no run crosses a border or a separator."""
    count = len(begin)
    keys = fold_each(row_keys, int(Purpose.NGRAM))[row]
    number = np.arange(count) - np.searchsorted(row, row)  # of the word within its row
    cumulative = np.cumsum(1.0 / np.arange(1, max_ngram + 1))
    drawn = 1 + np.searchsorted(cumulative / cumulative[-1], uniform(fold_each(keys, number.astype(np.uint64))), side="right")
    # The i-th draw of a row is the length of its i-th run; runs are laid end to end until the row's words are used up.
    total = np.cumsum(drawn)
    row_begin = np.searchsorted(row, row)
    end_within = total - (total - drawn)[row_begin]
    run_start = row_begin + (end_within - drawn)
    words_in_row = np.searchsorted(row, row, side="right") - row_begin
    heads = np.zeros(count, np.bool_)
    heads[run_start[(end_within - drawn) < words_in_row]] = True
    split_at = columns.offsets[row] + columns.split[row]
    heads |= (columns.split[row] > 0) & (begin == split_at)
    heads |= ~usable
    heads[1:] |= ~usable[:-1]
    first = np.flatnonzero(heads)
    return begin[first], np.add.reduceat(length, first), row[first], usable[first]


def _take(words: _Words, budget: I64, rate: float) -> Flags:
    """Return which words are taken: bool[W].

    Sorting is what costs, and budgets are small: words that come early in the random order are sorted and taken first, the
    others only in rows whose budget these did not fill. The result is that of going through all words in order.
    """
    taken = np.zeros(len(words.row), np.bool_)
    left = budget.copy()
    early = words.draw < np.uint64(min(_EARLY_SLOPE * rate + _EARLY_SHARE, 0.999) * 2.0**64)
    _fill(words, np.flatnonzero(early), taken, left)
    if left.any():
        _fill(words, np.flatnonzero(~early & (words.length <= left[words.row])), taken, left)
        _take_shortest(words, taken, left == budget)
    return taken


def _fill(words: _Words, candidates: I64, taken: Flags, left: I64) -> None:
    """Take candidates in random order while they fit what is `left` of their row's budget; both are updated."""
    waiting = candidates[_random_order(words, candidates)]
    while True:
        row, length = words.row[waiting], words.length[waiting]
        fits = length <= left[row]
        if not fits.all():
            waiting, row, length = waiting[fits], row[fits], length[fits]
        if not len(waiting):
            return
        total = np.cumsum(length)
        heads = np.flatnonzero(np.diff(row, prepend=-1))
        before = np.repeat((total - length)[heads], np.diff(heads, append=len(row)))
        now = total - before <= left[row]
        taken[waiting[now]] = True
        left -= np.bincount(row[now], weights=length[now], minlength=len(left)).astype(np.int64)
        waiting = waiting[~now]


def _random_order(words: _Words, some: I64) -> npt.NDArray[np.intp]:
    return np.argsort((words.row[some].astype(np.uint64) << np.uint64(48)) | (words.draw[some] >> np.uint64(16)))


def _take_shortest(words: _Words, taken: Flags, untouched: Flags) -> None:
    """In rows where no word fitted the budget, take the shortest (the first in random order among equals)."""
    candidates = np.flatnonzero(untouched[words.row])
    if not len(candidates):
        return
    candidates = candidates[_random_order(words, candidates)]
    shortest = candidates[np.lexsort((words.length[candidates], words.row[candidates]))]  # stable: ties stay in random order
    taken[shortest[np.flatnonzero(np.diff(words.row[shortest], prepend=-1))]] = True


def _replace(tokens: I64, bits: U64, policy: MaskPolicy, special_ids: SpecialIds, vocab_size: int) -> I64:
    kind = uniform(bits)
    special = sorted(set(special_ids.as_tuple()))
    random = np.floor(uniform(mix64(bits ^ np.uint64(fold(Purpose.MASK_KIND)))) * (vocab_size - len(special))).astype(np.int64)
    for forbidden in special:  # ascending: each step opens the gap that the special token leaves
        random += random >= forbidden
    replaced = np.where(kind < policy.mask_share + policy.random_share, random, tokens)
    return np.where(kind < policy.mask_share, special_ids.mask, replaced)
