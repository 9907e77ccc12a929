"""Uniform numbers to sample replaced tokens with: one a masked token, a function of (sample, seed, epoch, position in the row).

A token drawn by inverting the cumulative distribution needs a single number, whatever the vocabulary; which number is drawn
for which token depends neither on the batch, nor on its width, nor on the rank that draws.

Legend: N rows, M masked tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.collate import row_keys
from shards.counter import F64, Purpose, fold_each, uniform
from shards.reader import Rows


def sampling_draws(rows: Rows, epochs: npt.NDArray[np.int64], seed: int, batch: Mapping[str, npt.NDArray[Any]]) -> F64:
    """Return float64[M] in [0, 1) for the masked tokens of `batch`, which `collate` made of `rows` seen in `epochs`."""
    masked, width = batch["masked_positions"], batch["input_ids"].shape[1]
    if "first_positions" in batch:
        begins = batch["first_positions"]
        sample = np.searchsorted(begins, masked, side="right") - 1
        column = masked - begins[sample]
    else:
        sample, column = np.divmod(masked, width)
    keys = fold_each(row_keys(rows, epochs, seed), int(Purpose.RTD))[sample]
    return uniform(fold_each(keys, column.astype(np.uint64)))
