"""Batches of encoded rows as arrays, padded to their longest row. Pure functions: which rows meet depends on (seed, epoch).

Legend: B rows of a batch, L tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.encode import EncodedRows
from shards.counter import Purpose, fold
from shards.order import SampleOrder

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one forward pass needs: `rows_B` are the rows' indices, `labels_B` int64 classes or float32 scores."""

    input_ids_BL: I64
    token_type_ids_BL: I64
    lengths_B: I64
    labels_B: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    rows_B: I64


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the batches of an epoch; the last one may be short."""
    return -(-rows // batch_size)


def training_batches(rows: EncodedRows, *, batch_size: int, seed: int, epoch: int, pad_id: int) -> Iterator[Batch]:
    """Yield every row of an epoch once, in the keyed order of (seed, epoch)."""
    order = SampleOrder(len(rows), fold(seed, Purpose.FINETUNE))
    start = epoch * len(rows)
    for first in range(0, len(rows), batch_size):
        positions = np.arange(start + first, start + min(first + batch_size, len(rows)), dtype=np.int64)
        yield gather(rows, order.at(positions)[1], pad_id)


def scoring_batches(rows: EncodedRows, *, batch_size: int, pad_id: int) -> Iterator[Batch]:
    """Yield every row once, short rows first: neighbours of one length waste no padding."""
    order = np.argsort(rows.lengths, kind="stable").astype(np.int64)
    for first in range(0, len(rows), batch_size):
        yield gather(rows, order[first : first + batch_size], pad_id)


def gather(rows: EncodedRows, indices: I64, pad_id: int) -> Batch:
    """Return the rows at `indices` as one padded batch."""
    starts_B = rows.offsets[indices]
    lengths_B = rows.offsets[indices + 1] - starts_B
    positions_L = np.arange(int(lengths_B.max()), dtype=np.int64)
    inside_BL = positions_L < lengths_B[:, None]
    source_BL = np.where(inside_BL, starts_B[:, None] + positions_L, 0)
    return Batch(
        input_ids_BL=np.where(inside_BL, rows.ids[source_BL].astype(np.int64), np.int64(pad_id)),
        token_type_ids_BL=(inside_BL & (positions_L >= rows.second[indices][:, None])).astype(np.int64),
        lengths_B=lengths_B,
        labels_B=rows.labels[indices],
        rows_B=indices,
    )
