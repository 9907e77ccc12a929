"""The losses of pretraining, as sums over labels: a mean over the global batch is Σ sums / Σ counts, however it was cut up.

Legend: B rows of the batch, V vocabulary, M masked tokens, R rows, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor

IGNORED_LABEL = -100


class PretrainingLosses(NamedTuple):
    """Sums over one micro-batch, 0-d tensors; a mean over the global batch is Σ sums / Σ counts.

    Sums are float32 and carry gradients; counts are int64: labels that are not ignored, and those predicted correctly.
    """

    mlm_sum: Tensor
    mlm_count: Tensor
    mlm_correct: Tensor
    sop_sum: Tensor
    sop_count: Tensor
    sop_correct: Tensor


def pretraining_losses(
    mlm_logits_MV: Tensor, masked_labels_M: Tensor, sop_logits_B2: Tensor, sop_labels_B: Tensor
) -> PretrainingLosses:
    """Return summed cross entropies (in nats) and counts; labels of -100 are ignored.

    Without any label a sum is exactly 0, and so are its gradients.
    """
    return PretrainingLosses(*_cross_entropy(mlm_logits_MV, masked_labels_M), *_cross_entropy(sop_logits_B2, sop_labels_B))


def summed_cross_entropy(logits_RC: Tensor, labels_R: Tensor) -> Tensor:
    """Return the sum of the rows' cross entropies in nats, a 0-d float32 tensor; rows labelled -100 add exactly 0."""
    # Half precision would overflow in a sum over thousands of tokens.
    logits_RC = logits_RC.astype("float32") if logits_RC.dtype in (paddle.float16, paddle.bfloat16) else logits_RC
    return F.cross_entropy(logits_RC, labels_R, ignore_index=IGNORED_LABEL, reduction="sum")


def _cross_entropy(logits_RC: Tensor, labels_R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    total = summed_cross_entropy(logits_RC, labels_R)
    with paddle.no_grad():
        count = (labels_R != IGNORED_LABEL).sum()
        if labels_R.shape[0] == 0:
            return total, count, count
        correct = (logits_RC.argmax(axis=-1) == labels_R).sum()
    return total, count, correct
