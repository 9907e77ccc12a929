"""Batches of encoded rows as arrays, padded to their longest row. Pure functions: which rows meet depends on (seed, epoch).

Legend: B sequences of a batch (two a row of a choice, else one), L tokens of the longest, N what is predicted of it: its rows,
or the tokens of a tagging task that begin a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.encode import EncodedRows
from shards.counter import Purpose, fold
from shards.order import Permutation, SampleOrder

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one forward pass needs.

    `labels_N` are int64 classes or float32 scores, `targets_N` their numbers among all of the rows' targets. `tokens_N` are the
    tokens to tag, as positions b·L + l; None when rows are predicted.
    """

    input_ids_BL: I64
    token_type_ids_BL: I64
    lengths_B: I64
    labels_N: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    targets_N: I64
    tokens_N: I64 | None


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the batches of an epoch; the last one may be short."""
    return -(-rows // batch_size)


def training_batches(
    rows: EncodedRows, *, batch_size: int, seed: int, epoch: int, pad_id: int, window: int = 1
) -> Iterator[Batch]:
    """Yield every row of an epoch once, in the keyed order of (seed, epoch).

    The rows of each `window` consecutive batches are sorted by length before they are cut into batches, and those batches are
    put in a keyed order again: rows of one batch are about as long, and short batches do not come first.
    """
    order, key = SampleOrder(len(rows), fold(seed, Purpose.FINETUNE)), fold(seed, Purpose.FINETUNE, Purpose.ORDER, epoch)
    start, span = epoch * len(rows), window * batch_size
    for number, first in enumerate(range(0, len(rows), span)):
        positions = np.arange(start + first, start + min(first + span, len(rows)), dtype=np.int64)
        indices = order.at(positions)[1]
        if window > 1:
            indices = indices[np.argsort(rows.lengths[indices], kind="stable")]
        batches = [indices[at : at + batch_size] for at in range(0, len(indices), batch_size)]
        turns = Permutation(len(batches), fold(key, number)).at(np.arange(len(batches), dtype=np.int64))
        for turn in turns if window > 1 else range(len(batches)):
            yield gather(rows, batches[turn], pad_id)


def scoring_batches(rows: EncodedRows, *, batch_size: int, pad_id: int) -> Iterator[Batch]:
    """Yield every row once, short rows first: neighbours of one length waste no padding. `batch_size` counts sequences."""
    batch_size = max(1, batch_size // rows.per_row)
    order = np.argsort(rows.lengths, kind="stable").astype(np.int64)
    for first in range(0, len(rows), batch_size):
        yield gather(rows, order[first : first + batch_size], pad_id)


def gather(rows: EncodedRows, indices: I64, pad_id: int) -> Batch:
    """Return the rows at `indices` as one padded batch."""
    sequences_B: I64 = (indices[:, None] * rows.per_row + np.arange(rows.per_row)).ravel()
    starts_B = rows.offsets[sequences_B]
    lengths_B = rows.offsets[sequences_B + 1] - starts_B
    positions_L = np.arange(int(lengths_B.max()), dtype=np.int64)
    inside_BL = positions_L < lengths_B[:, None]
    source_BL = np.where(inside_BL, starts_B[:, None] + positions_L, 0)
    targets_N, tokens_N = indices, None
    if rows.target_offsets is not None and rows.target_tokens is not None:
        counts_B = rows.target_offsets[indices + 1] - rows.target_offsets[indices]
        of_row_N = np.repeat(np.arange(len(indices)), counts_B)
        first_N = np.repeat(rows.target_offsets[indices] - (np.cumsum(counts_B) - counts_B), counts_B)
        targets_N = first_N + np.arange(len(of_row_N))
        tokens_N = of_row_N * len(positions_L) + rows.target_tokens[targets_N]
    return Batch(
        input_ids_BL=np.where(inside_BL, rows.ids[source_BL].astype(np.int64), np.int64(pad_id)),
        token_type_ids_BL=(inside_BL & (positions_L >= rows.second[sequences_B][:, None])).astype(np.int64),
        lengths_B=lengths_B,
        labels_N=rows.labels[targets_N] if len(rows.labels) else np.zeros(len(targets_N), dtype=np.int64),
        targets_N=targets_N,
        tokens_N=tokens_N,
    )
