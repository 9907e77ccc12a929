"""Rows of a data set → the arrays of one training batch: special tokens, pair swaps, masks, padding.

Everything drawn at random here is a function of (data-set tag, sample id, seed, epoch, purpose, position): the same sample in
the same epoch looks the same in any batch, on any rank, in any run.

Legend: N rows, L padded length, M masked tokens of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.counter import U64, Purpose, fold, fold_each
from shards.errors import FormatError, UsageError
from shards.manifest import PAIR_TEMPLATES, SpecialIds, separators_inside
from shards.masks import Masked, MaskPolicy, choose
from shards.reader import Rows

I64 = npt.NDArray[np.int64]
NO_PAIR = -100


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch needs beside its rows.

    sop: swap the segments of half of the pairs and label them; otherwise pairs keep their order and no label is given.
    pad_multiple: rows are padded to the longest of the batch, rounded up to this.
    """

    special_ids: SpecialIds
    vocab_size: int
    pair_template: str
    mask: MaskPolicy
    sop: bool
    seed: int
    pad_multiple: int = 8

    def __post_init__(self) -> None:
        if self.pair_template not in PAIR_TEMPLATES:
            raise UsageError("unknown pair template", expected=PAIR_TEMPLATES, got=self.pair_template)
        if self.pad_multiple < 1:
            raise UsageError(f"pad_multiple must be at least 1, got {self.pad_multiple}")


def row_keys(rows: Rows, epochs: I64, seed: int) -> U64:
    """Return the key of each row's random numbers, uint64[N]."""
    per_set = fold_each(fold(seed), rows.tag)
    return fold_each(fold_each(per_set, rows.sample_id), epochs.astype(np.uint64))


def collate(rows: Rows, epochs: I64, plan: BatchPlan) -> dict[str, npt.NDArray[np.int64]]:
    """Return the arrays of a batch of N rows, each seen for the `epochs`-th time (int64[N]).

    input_ids and token_type_ids [N, L]; lengths [N], special tokens included, the rest is padding; masked_positions [M], flat
    indexes into N · L, ascending within each row's natural order; masked_labels [M]; sop_labels [N], 1 = swapped, 0 = in
    order, −100 = no pair; sample_ids [N]. All int64.
    """
    count = len(rows)
    if int(rows.ids.max(initial=0)) >= plan.vocab_size:
        raise FormatError(
            "a token id lies outside of the vocabulary", expected=f"below {plan.vocab_size}", got=int(rows.ids.max())
        )
    keys = row_keys(rows, epochs, plan.seed)
    tokens = np.diff(rows.offsets)
    split = rows.split.astype(np.int64)
    paired = split > 0
    swapped = _swapped(rows, keys, plan) & paired
    lengths = tokens + 2 + paired * separators_inside(plan.pair_template)
    width = -(-int(lengths.max()) // plan.pad_multiple) * plan.pad_multiple

    # Where each token goes: behind [CLS] and, in the second segment, behind the separators and the first one.
    row = np.repeat(np.arange(count), tokens)
    position = np.arange(int(rows.offsets[-1])) - np.repeat(rows.offsets[:-1], tokens)
    first_segment = np.where(swapped, tokens - split, split)
    into_second = first_segment + separators_inside(plan.pair_template)
    shift_a = np.where(swapped, into_second, 0) + 1
    shift_b = np.where(swapped, -split, np.where(paired, into_second - split, 0)) + 1
    target = row * width + position + np.where(position < split[row], shift_a[row], shift_b[row])

    masked = _masks(rows, keys, plan)
    seen = rows.ids.astype(np.int64)
    seen[masked.index] = masked.replacement
    special = plan.special_ids
    input_ids = np.full(count * width, special.pad, np.int64)
    input_ids[target] = seen
    begin = np.arange(count) * width
    input_ids[begin] = special.cls
    input_ids[begin + lengths - 1] = special.sep
    border = (begin + 1 + first_segment)[paired]
    for extra in range(separators_inside(plan.pair_template)):
        input_ids[border + extra] = special.sep
    column = np.arange(width)
    in_second = (column >= (1 + into_second)[:, None]) & (column < lengths[:, None]) & paired[:, None]
    types = in_second if plan.pair_template == "bert" else np.zeros((count, width), np.bool_)
    return {
        "input_ids": input_ids.reshape(count, width),
        "token_type_ids": types.astype(np.int64),
        "lengths": lengths,
        "masked_positions": target[masked.index],
        "masked_labels": rows.ids[masked.index].astype(np.int64),
        "sop_labels": np.where(paired, swapped, NO_PAIR).astype(np.int64) if plan.sop else np.full(count, NO_PAIR, np.int64),
        "sample_ids": rows.sample_id.astype(np.int64),
    }


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
