"""Masks and swaps drawn once, when a data set is built, instead of anew in each epoch: ``--masking static``.

Each sample is stored `copies` times, with masks of its own each time (BERT's duplicate factor). Draws are keyed by the caller's
key, the number of the sample and the number of the copy.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from shards.columns import Columns, StaticMasks
from shards.counter import Purpose, fold_each
from shards.manifest import SpecialIds
from shards.masks import MaskPolicy, choose
from shards.reader import starts, take_rows

_ROWS_AT_ONCE = 1 << 14


def with_static_masks(
    columns: Columns, copies: int, key: int, policy: MaskPolicy, special_ids: SpecialIds, vocab_size: int
) -> Columns:
    """Return each of the N samples `copies` times, neighbours, with masks and swaps."""
    rows = np.repeat(np.arange(len(columns)), copies)
    parts = [_masked(columns, rows[at : at + _ROWS_AT_ONCE], at, copies, key, policy, special_ids, vocab_size)
             for at in range(0, len(rows), _ROWS_AT_ONCE)]  # fmt: skip
    static = StaticMasks(
        offsets=starts(np.concatenate([np.diff(part.offsets) for part in parts])),
        positions=np.concatenate([part.positions for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        sop_swapped=np.concatenate([part.sop_swapped for part in parts]),
    )
    return dataclasses.replace(take_rows(columns, rows), static=static)


def _masked(
    columns: Columns, rows: npt.NDArray[np.int64], first: int, copies: int, key: int, policy: MaskPolicy,
    special_ids: SpecialIds, vocab_size: int,
) -> StaticMasks:  # fmt: skip
    taken = take_rows(columns, rows)
    copy = (first + np.arange(len(rows))) % copies
    keys = fold_each(fold_each(key, rows.astype(np.uint64)), copy.astype(np.uint64))
    masked = choose(taken, keys, policy, special_ids, vocab_size)
    row = np.searchsorted(taken.offsets, masked.index, side="right") - 1
    swapped = (fold_each(keys, int(Purpose.SOP)) >> np.uint64(63)).astype(np.bool_)
    return StaticMasks(
        offsets=starts(np.bincount(row, minlength=len(rows))),
        positions=(masked.index - taken.offsets[row]).astype(np.uint16),
        ids=masked.replacement.astype(columns.ids.dtype),
        sop_swapped=swapped & (taken.split > 0),
    )
