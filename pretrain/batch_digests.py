"""What a sample looked like when it was trained on, in a few digits: to compare the batches of two runs.

A digest covers the sample's number, its ids after masking and swapping, token types, masked positions with the tokens behind
them, and its sentence order label; not the padding, nor its place in a micro-batch, nor which rank saw it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_DIGITS = 16


def batch_digests(batch: Mapping[str, Any]) -> list[str]:
    """Return one digest a sample, in order; `batch` is a micro-batch of `pretrain.loader` as arrays or CPU tensors."""
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    length = arrays["input_ids"].shape[1]
    rows_M, positions_M = np.divmod(arrays["masked_positions"], length)
    digests = []
    for row, (sample, size) in enumerate(zip(arrays["sample_ids"].tolist(), arrays["lengths"].tolist(), strict=True)):
        of_row = rows_M == row
        parts = [
            np.array([sample, size, int(arrays["sop_labels"][row])]),
            arrays["input_ids"][row, :size], arrays["token_type_ids"][row, :size],
            positions_M[of_row], arrays["masked_labels"][of_row],
        ]  # fmt: skip
        text = hashlib.sha256()
        for part in parts:
            text.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
            text.update(b"/")
        digests.append(text.hexdigest()[:_DIGITS])
    return digests
