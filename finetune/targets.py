"""What the network's outputs mean, by kind of task: which of them are predictions, and their loss.

classes: cross entropy. score: squared error. choice: each of the two texts is asked whether it is the closer one, by the same
output of the head (binary cross entropy, as in the published recipe of CAIL2019-SCM); the higher answer wins. tags: cross entropy
over the tokens that begin a word.

Legend: B sequences of a batch, L padded length, C outputs of the head, N predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from finetune.batches import Batch
from finetune.settings import Settings
from finetune.task import Task
from pretrain.config import ModelConfig
from pretrain.heads import SequenceClassifier, TokenClassifier


def new_network(task: Task, config: ModelConfig, settings: Settings) -> Any:
    """Return encoder and head with fresh weights."""
    if task.kind == "tags":
        return TokenClassifier(config, num_classes=task.outputs, dropout=settings.dropout)
    return SequenceClassifier(config, num_classes=task.outputs, dropout=settings.dropout, pooling=settings.pooling)


def predict(network: Any, batch: Batch, task: Task, settings: Settings) -> Any:
    """Return the predictions of a batch as the loss and the metrics take them, [N, C]; of a choice, [N, 2]."""
    with paddle.amp.auto_cast(enable=settings.amp != "off", level="O1", dtype="bfloat16"):
        outputs = network(
            paddle.to_tensor(batch.input_ids_BL), paddle.to_tensor(batch.token_type_ids_BL), paddle.to_tensor(batch.lengths_B)
        ).astype("float32")
    if batch.tokens_N is not None:
        return paddle.gather(outputs.reshape([-1, task.outputs]), paddle.to_tensor(batch.tokens_N))
    return outputs.reshape([-1, 2]) if task.kind == "choice" else outputs


def loss_of(task: Task, outputs_NC: Any, batch: Batch, *, smoothing: float = 0.0) -> Any:
    """Return the mean loss over the batch's N predictions."""
    if task.kind == "choice":
        closer_N2 = np.eye(2, dtype=np.float32)[batch.labels_N.astype(np.int64)]
        return F.binary_cross_entropy_with_logits(outputs_NC, paddle.to_tensor(closer_N2))
    if not len(batch.labels_N):  # rows of which nothing is tagged: all of them cut off or invisible
        return outputs_NC.sum() * 0.0
    labels_N = paddle.to_tensor(batch.labels_N)
    if task.kind == "score":
        return F.mse_loss(outputs_NC[:, 0], labels_N)
    return F.cross_entropy(outputs_NC, labels_N, label_smoothing=smoothing)


def width(task: Task) -> int:
    """Return C of `predict`."""
    return 2 if task.kind == "choice" else task.outputs
