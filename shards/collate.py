"""Rows of a data set → the arrays of one training batch: special tokens, pair swaps, masks, padding.

Everything drawn at random here is a function of (data-set tag, sample id, seed, epoch, purpose, position): the same sample in
the same epoch looks the same in any batch, on any rank, in any run.

Legend: N rows of the batch, S samples in them, L padded length, M masked tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.counter import U64, Purpose, fold, fold_each
from shards.errors import FormatError, UsageError
from shards.manifest import PAIR_TEMPLATES, SpecialIds, separators_inside
from shards.mask_rate import MaskRates
from shards.masks import Masked, MaskPolicy, choose
from shards.reader import Rows

I64 = npt.NDArray[np.int64]
NO_PAIR = -100


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch needs beside its rows.

    sop: swap the segments of half of the pairs and label them; otherwise pairs keep their order and no label is given.
    pad_multiple: rows are padded to the longest of the batch, rounded up to this; mask_rates: the share of masked tokens of
    each step, where it is not that of `mask` throughout.
    """

    special_ids: SpecialIds
    vocab_size: int
    pair_template: str
    mask: MaskPolicy
    sop: bool
    seed: int
    pad_multiple: int = 8
    mask_rates: MaskRates | None = None

    def at_step(self, step: int) -> BatchPlan:
        """Return the plan with the mask rate of a step."""
        if self.mask_rates is None:
            return self
        return replace(self, mask=replace(self.mask, rate=self.mask_rates.at(step)))

    def __post_init__(self) -> None:
        if self.pair_template not in PAIR_TEMPLATES:
            raise UsageError("unknown pair template", expected=PAIR_TEMPLATES, got=self.pair_template)
        if self.pad_multiple < 1:
            raise UsageError(f"pad_multiple must be at least 1, got {self.pad_multiple}")


def row_keys(rows: Rows, epochs: I64, seed: int) -> U64:
    """Return the key of each row's random numbers, uint64[N]."""
    per_set = fold_each(fold(seed), rows.tag)
    return fold_each(fold_each(per_set, rows.sample_id), epochs.astype(np.uint64))


def collate(rows: Rows, epochs: I64, plan: BatchPlan, units: I64 | None = None) -> dict[str, npt.NDArray[np.int64]]:
    """Return the arrays of a batch of S samples, each seen for the `epochs`-th time (int64[S]).

    Without `units` each sample has a row of its own, N = S; with it (int64[N + 1]) row n holds the samples units[n] ≤ s <
    units[n + 1], one behind the other, each with special tokens of its own.

    input_ids and token_type_ids [N, L]; lengths [N], special tokens included, the rest is padding; masked_positions [M], flat
    indexes into N · L, ascending within each sample's natural order; masked_labels [M]; sop_labels [S], 1 = swapped, 0 = in
    order, −100 = no pair; sample_ids [S]. With `units` also documents [N, L], the number within its row of the sample that a
    token is of (padding counts as one more); first_positions [S], flat indexes of the
    samples' first tokens. All int64.
    """
    count = len(rows)
    if int(rows.ids.max(initial=0)) >= plan.vocab_size:
        raise FormatError(
            "a token id lies outside of the vocabulary", expected=f"below {plan.vocab_size}", got=int(rows.ids.max())
        )
    inside, special = separators_inside(plan.pair_template), plan.special_ids
    keys = row_keys(rows, epochs, plan.seed)
    tokens = np.diff(rows.offsets)
    split = rows.split.astype(np.int64)
    paired = split > 0
    swapped = _swapped(rows, keys, plan) & paired
    sample_lengths = tokens + 2 + paired * inside
    if units is None:
        lengths, before = sample_lengths, np.zeros(count, np.int64)
    else:
        total = np.cumsum(sample_lengths) - sample_lengths
        lengths = np.add.reduceat(sample_lengths, units[:-1])
        before = total - np.repeat(total[units[:-1]], np.diff(units))
    rows_of_batch = len(lengths)
    width = -(-int(lengths.max()) // plan.pad_multiple) * plan.pad_multiple
    row = np.arange(count) if units is None else np.repeat(np.arange(rows_of_batch), np.diff(units))
    begin = row * width + before

    # Where each token goes: behind [CLS] and, in the second segment, behind the separators and the first one. Each segment moves
    # as a whole, so its tokens' targets are ranges.
    first_segment = np.where(swapped, tokens - split, split)
    to_a = begin + 1 + np.where(swapped, first_segment + inside, 0)
    to_b = begin + 1 + np.where(swapped, 0, np.where(paired, first_segment + inside, 0))
    segment_begin, segment_target = _segments(rows.offsets, split, to_a, to_b)
    lengths_of_segments = np.diff(segment_begin, append=rows.offsets[-1])
    target = np.arange(int(rows.offsets[-1]), dtype=np.int64) + np.repeat(segment_target - segment_begin, lengths_of_segments)

    masked = _masks(rows, keys, plan)
    input_ids = np.full(rows_of_batch * width, special.pad, np.int64)
    input_ids[target] = rows.ids
    masked_positions = target[masked.index]
    input_ids[masked_positions] = masked.replacement
    input_ids[begin] = special.cls
    ends = begin + sample_lengths
    input_ids[ends - 1] = special.sep
    border = (begin + 1 + first_segment)[paired]
    for extra in range(inside):
        input_ids[border + extra] = special.sep
    batch = {
        "input_ids": input_ids.reshape(rows_of_batch, width),
        "token_type_ids": np.zeros((rows_of_batch, width), np.int64),
        "lengths": lengths,
        "masked_positions": masked_positions,
        "masked_labels": rows.ids[masked.index].astype(np.int64),
        "sop_labels": np.where(paired, swapped, NO_PAIR).astype(np.int64) if plan.sop else np.full(count, NO_PAIR, np.int64),
        "sample_ids": rows.sample_id.astype(np.int64),
    }
    if plan.pair_template == "bert":
        batch["token_type_ids"] = _between(border + inside, ends[paired], (rows_of_batch, width))
    if units is not None:
        batch |= _packed(begin, ends, width, units)
    return batch


def _segments(offsets: I64, split: I64, to_a: I64, to_b: I64) -> tuple[I64, I64]:
    """Return where the segments of all samples begin in the flat ids, and where they go; those of no token are left out."""
    begins = np.stack([offsets[:-1], offsets[:-1] + split], axis=1)
    targets = np.stack([to_a, to_b], axis=1)
    real = np.stack([split > 0, np.ones(len(split), np.bool_)], axis=1)
    return begins[real], targets[real]


def _between(begins: I64, ends: I64, shape: tuple[int, int]) -> I64:
    """Return 1 in the flat ranges [begin, end), 0 elsewhere, int64 of `shape`; ranges do not overlap, but may touch."""
    change = np.zeros(shape[0] * shape[1] + 1, np.int8)
    change[begins] += 1
    change[ends] -= 1
    return np.cumsum(change[:-1], dtype=np.int8).reshape(shape).astype(np.int64)


def _packed(begin: I64, ends: I64, width: int, units: I64) -> dict[str, I64]:
    rows_of_batch = len(units) - 1
    change = np.zeros(rows_of_batch * width + 1, np.int64)
    inner = np.ones(len(begin), np.bool_)
    inner[units[:-1]] = False
    change[begin[inner]] += 1  # another sample begins
    padding = ends[units[1:] - 1]
    padded = padding < np.arange(1, rows_of_batch + 1) * width
    change[padding[padded]] += 1
    documents = np.cumsum(change[:-1].reshape(rows_of_batch, width), axis=1)
    return {"documents": documents, "first_positions": begin}


def empty_batch(plan: BatchPlan, *, packed: bool) -> dict[str, I64]:
    """Return the arrays of a batch that has no sample left: one row of padding, without labels."""
    cells, none = np.full((1, plan.pad_multiple), plan.special_ids.pad, np.int64), np.empty(0, np.int64)
    zeros = np.zeros_like(cells)
    batch = {"input_ids": cells, "token_type_ids": zeros, "lengths": np.zeros(1, np.int64), "masked_positions": none,
             "masked_labels": none, "sop_labels": np.array([NO_PAIR]), "sample_ids": none}  # fmt: skip
    if packed:
        batch |= {"documents": zeros, "first_positions": np.zeros(1, np.int64)}
    return batch


def cells_of_samples(batch: Mapping[str, npt.NDArray[Any]]) -> tuple[I64, I64]:
    """Return where each sample of a batch of `collate` begins and ends, special tokens included: flat indexes, int64[S]."""
    width = batch["input_ids"].shape[1]
    row_begins = np.arange(len(batch["lengths"])) * width
    row_ends = row_begins + batch["lengths"]
    if "first_positions" not in batch:
        return row_begins, row_ends
    begins = batch["first_positions"]
    following = np.append(begins[1:], width * len(row_begins))
    return begins, np.minimum(following, row_ends[begins // width])


def _swapped(rows: Rows, keys: U64, plan: BatchPlan) -> npt.NDArray[np.bool_]:
    if not plan.sop:
        return np.zeros(len(rows), np.bool_)
    if rows.static is not None:
        return rows.static.sop_swapped
    return (fold_each(keys, int(Purpose.SOP)) >> np.uint64(63)).astype(np.bool_)


def _masks(rows: Rows, keys: U64, plan: BatchPlan) -> Masked:
    if rows.static is None:
        return choose(rows, keys, plan.mask, plan.special_ids, plan.vocab_size)
    begin: I64 = np.repeat(rows.offsets[:-1], np.diff(rows.static.offsets))
    index: I64 = np.add(begin, rows.static.positions, dtype=np.int64)
    return Masked(index=index, replacement=rows.static.ids.astype(np.int64))
