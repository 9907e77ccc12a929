"""What stands on the encoder: masked language model and sentence order heads, pooler, classifier, and the losses.

Legend: B rows of the batch, L padded length, D hidden size, E embedding size, V vocabulary, M masked tokens, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.config import ModelConfig
from pretrain.roformer import LayerNorm, Linear, RoFormer, dropout, gelu

IGNORED_LABEL = -100


def build_encoder(config: ModelConfig) -> RoFormer:
    """Return a freshly initialised encoder; `paddle.seed` before the call fixes its weights."""
    return RoFormer(config)


class Pooler(nn.Layer):
    """tanh(Linear(first token)): x_BD → x_BD."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, config)

    def forward(self, first_BD: Tensor) -> Tensor:
        return paddle.tanh(self.dense(first_BD))


def _encoder_with_pooler(config: ModelConfig) -> RoFormer:
    # The pooler hangs below the encoder, as ``roformer.pooler.dense``, because PaddleNLP's weights have it there.
    encoder = build_encoder(config)
    encoder.pooler = Pooler(config)
    return encoder


def _first_rows(input_ids_BL: Tensor) -> Tensor:
    rows, length = input_ids_BL.shape
    return paddle.arange(rows, dtype="int64") * length


class MLMHead(nn.Layer):
    """Linear → gelu → layer norm → the transposed word embeddings, plus a bias: x_MD → logits_MV."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Linear(config.hidden_size, config.embedding_size, config)
        self.layer_norm = LayerNorm(config.embedding_size, config)
        self.decoder_bias = self.create_parameter([config.vocab_size], is_bias=True)

    def forward(self, hidden_MD: Tensor, word_embeddings_VE: Tensor) -> Tensor:
        x_ME = self.layer_norm(gelu(self.transform(hidden_MD)))
        return paddle.matmul(x_ME, word_embeddings_VE, transpose_y=True) + self.decoder_bias


class PretrainingHeads(nn.Layer):
    """The two heads of pretraining under the names that PaddleNLP gives them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.predictions = MLMHead(config)
        self.seq_relationship = Linear(config.hidden_size, 2, config)


class PretrainingModel(nn.Layer):
    """Encoder, masked language model and sentence order prediction.

    Weights: ``roformer.*`` (the encoder and ``roformer.pooler.dense``), ``cls.predictions.*``, ``cls.seq_relationship.*``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.roformer = _encoder_with_pooler(config)
        self.cls = PretrainingHeads(config)

    @property
    def encoder(self) -> RoFormer:
        return self.roformer

    def forward(
        self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor, masked_positions_M: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the masked tokens, [M, V], and of the sentence order (1 = swapped), [B, 2].

        masked_positions_M: numbers b·L + l of the tokens to predict; there may be none. Raises ModelError for rows longer
        than the model takes.
        """
        masked = masked_positions_M.shape[0]
        rows_R = paddle.concat([masked_positions_M, _first_rows(input_ids_BL)])
        hidden_RD = self.roformer(input_ids_BL, token_type_ids_BL, lengths_B, rows_R)
        mlm_logits_MV = self.cls.predictions(hidden_RD[:masked], self.roformer.embeddings.word_embeddings.weight)
        sop_logits_B2 = self.cls.seq_relationship(self.roformer.pooler(hidden_RD[masked:]))
        return mlm_logits_MV, sop_logits_B2


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


class SequenceClassifier(nn.Layer):
    """Encoder → pooler → dropout → Linear: a batch → logits_BC. Weights: ``roformer.*`` as in pretraining, ``classifier.*``."""

    def __init__(self, config: ModelConfig, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.roformer = _encoder_with_pooler(config)
        self.classifier = Linear(config.hidden_size, num_classes, config)
        self._dropout = dropout

    @property
    def encoder(self) -> RoFormer:
        return self.roformer

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        first_BD = self.roformer(input_ids_BL, token_type_ids_BL, lengths_B, _first_rows(input_ids_BL))
        pooled_BD = dropout(self.roformer.pooler(first_BD), self._dropout, training=self.training)
        return self.classifier(pooled_BD)
