"""How much of a batch is padding: what it costs to train on samples of different lengths.

Three ways to lay samples out are compared, each as the share of a batch's cells that hold no token:

fixed    every sample is padded to the longest that the data set allows
batches  samples in random order, each batch padded to its longest sample
bins     the samples of 16 batches are sorted by length in bins first (DESIGN §5), each batch padded to its longest
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.counter import Purpose, fold
from shards.manifest import HISTOGRAM_BIN_TOKENS
from shards.order import Permutation

I64 = npt.NDArray[np.int64]
BATCH_ROWS = 128
WINDOW_BATCHES = 16
PAD_MULTIPLE = 8  # as `shards.collate.BatchPlan`
BIN_TOKENS = HISTOGRAM_BIN_TOKENS


@dataclass(frozen=True, kw_only=True)
class PaddingWaste:
    """Shares of a batch's cells, from 0 to 1, that hold padding; see the module docstring."""

    fixed: float
    batches: float
    bins: float


def padding_waste(lengths: I64, max_seq_len: int, *, batch_rows: int = BATCH_ROWS, seed: int = 0) -> PaddingWaste:
    """Return the padding of samples of the given lengths (int64[N], N ≥ 1, special tokens included)."""
    count = len(lengths)
    shuffled = lengths[Permutation(count, fold(seed, Purpose.SUBSET)).at(np.arange(count, dtype=np.int64))]
    window = np.arange(count) // (batch_rows * WINDOW_BATCHES)
    binned = shuffled[np.lexsort((-(-shuffled // BIN_TOKENS), window))]
    tokens = int(lengths.sum())
    return PaddingWaste(
        fixed=1.0 - tokens / (count * max_seq_len),
        batches=1.0 - tokens / _cells(shuffled, batch_rows),
        bins=1.0 - tokens / _cells(binned, batch_rows),
    )


def _cells(lengths: I64, batch_rows: int) -> int:
    """Return the cells of consecutive batches, each as wide as its longest sample."""
    firsts = np.arange(0, len(lengths), batch_rows)
    widths = -(-np.maximum.reduceat(lengths, firsts) // PAD_MULTIPLE) * PAD_MULTIPLE
    return int((widths * np.diff(firsts, append=len(lengths))).sum())
