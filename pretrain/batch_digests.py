"""What a sample looked like when it was trained on, in a few digits: to compare the batches of two runs.

A digest covers the sample's number, its ids after masking and swapping, token types, masked positions with the tokens behind
them, and its sentence order label; not the padding, nor its place in a micro-batch or a packed row, nor which rank saw it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.collate import cells_of_samples

_DIGITS = 16


def batch_digests(batch: Mapping[str, Any]) -> list[str]:
    """Return one digest a sample, in order; `batch` is a micro-batch of `pretrain.loader` as arrays or CPU tensors."""
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    begins_S, ends_S = cells_of_samples(arrays)
    ids, types = arrays["input_ids"].reshape(-1), arrays["token_type_ids"].reshape(-1)
    digests = []
    for i, sample in enumerate(arrays["sample_ids"].tolist()):
        begin, end = int(begins_S[i]), int(ends_S[i])
        inside = (begin <= arrays["masked_positions"]) & (arrays["masked_positions"] < end)
        parts = [
            np.array([sample, end - begin, int(arrays["sop_labels"][i])]), ids[begin:end], types[begin:end],
            arrays["masked_positions"][inside] - begin, arrays["masked_labels"][inside],
        ]  # fmt: skip
        text = hashlib.sha256()
        for part in parts:
            text.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
            text.update(b"/")
        digests.append(text.hexdigest()[:_DIGITS])
    return digests
