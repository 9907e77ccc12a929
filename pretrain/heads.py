"""What stands on the encoder, whichever it is: heads of pretraining and of fine-tuning, and the models they make with it.

A model's encoder hangs below the name that PaddleNLP gives it (`ModelConfig.prefix`), with its pooler inside where it has one. A
network without pooler (RoFormerV2) lets the first token stand for the row as it is.

Legend: B rows of the batch, L padded length, D hidden size, E embedding size, V vocabulary, M masked tokens, C classes.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn

from pretrain.config import ModelConfig
from pretrain.emulate import matmul
from pretrain.encoders import build_encoder
from pretrain.errors import ModelError
from pretrain.layers import LayerNorm, Linear, dropout, gelu, linear_of_rows

POOLINGS = ("cls", "mean")
_ACTIVATIONS = {"tanh": paddle.tanh, "gelu": gelu}


class Pooler(nn.Layer):
    """activation(Linear(first token)): x_BD → x_BD. The activation is tanh unless the config says otherwise."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, config)
        self._activation = _ACTIVATIONS.get(config.pool_act)

    def forward(self, first_BD: Tensor) -> Tensor:
        pooled_BD = self.dense(first_BD)
        return pooled_BD if self._activation is None else self._activation(pooled_BD)


class MLMHead(nn.Layer):
    """Linear → gelu → layer norm → the transposed word embeddings, plus a bias: x_MD → logits_MV."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Linear(config.hidden_size, config.embedding_size, config)
        self.layer_norm = LayerNorm(config.embedding_size, config)
        self.decoder_bias = self.create_parameter([config.vocab_size], is_bias=True)

    def forward(self, hidden_MD: Tensor, word_embeddings_VE: Tensor) -> Tensor:
        x_ME = self.layer_norm(gelu(self.transform(hidden_MD)))
        return linear_of_rows(x_ME, word_embeddings_VE, self.decoder_bias)


class TiedDecoder(nn.Layer):
    """The transposed word embeddings and nothing else, RoFormerV2's MLM head: x_MD → logits_MV."""

    def forward(self, hidden_MD: Tensor, word_embeddings_VD: Tensor) -> Tensor:
        return matmul(hidden_MD, word_embeddings_VD, transpose_y=True)


class PretrainingHeads(nn.Layer):
    """The two heads of pretraining under the names that PaddleNLP gives them in RoFormer and BERT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.predictions = MLMHead(config) if config.has_bias else TiedDecoder()
        self.seq_relationship = Linear(config.hidden_size, 2, config)


class DiscriminatorHead(nn.Layer):
    """Was this token replaced? Linear → gelu → Linear: x_RD → logits_R, as in ELECTRA (Clark et al. 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, config)
        self.dense_prediction = Linear(config.hidden_size, 1, config)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense_prediction(gelu(self.dense(hidden))).squeeze(-1)


def _attach_encoder(model: nn.Layer, config: ModelConfig, *, pooler: bool) -> nn.Layer:
    """Build an encoder below `model` under its name; `model` must not have other sublayers yet, which keeps seeds' meaning."""
    encoder = build_encoder(config)
    if pooler and config.has_pooler:
        encoder.pooler = Pooler(config)
    model.add_sublayer(config.prefix, encoder)
    return encoder


def _pooled(encoder: nn.Layer, first_BD: Tensor) -> Tensor:
    return encoder.pooler(first_BD) if encoder.config.has_pooler else first_BD


def _first_rows(input_ids_BL: Tensor) -> Tensor:
    rows, length = input_ids_BL.shape
    return paddle.arange(rows, dtype="int64") * length


class PretrainingModel(nn.Layer):
    """Encoder, masked language model and sentence order prediction.

    Weights: ``<prefix>.*`` (the encoder and its ``pooler.dense``), ``cls.predictions.*``, ``cls.seq_relationship.*``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        _attach_encoder(self, config, pooler=True)
        self.cls = PretrainingHeads(config)

    @property
    def encoder(self) -> Any:
        return getattr(self, self.config.prefix)

    def forward(
        self,
        input_ids_BL: Tensor,
        token_type_ids_BL: Tensor,
        lengths_B: Tensor,
        masked_positions_M: Tensor,
        documents_BL: Tensor | None = None,
        first_positions_S: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the masked tokens, [M, V], and of the sentence order (1 = swapped), [B, 2].

        masked_positions_M: numbers b·L + l of the tokens to predict; there may be none. For rows that hold several samples:
        which one each token is of, and the numbers of their first tokens; the sentence order is then that of each sample, [S,
        2]. Raises ModelError for rows longer than the model takes.
        """
        masked, encoder = masked_positions_M.shape[0], self.encoder
        first_S = _first_rows(input_ids_BL) if first_positions_S is None else first_positions_S
        rows_R = paddle.concat([masked_positions_M, first_S])
        hidden_RD = encoder(input_ids_BL, token_type_ids_BL, lengths_B, rows_R, documents_BL)
        mlm_logits_MV = self.cls.predictions(hidden_RD[:masked], encoder.embeddings.word_embeddings.weight)
        sop_logits_B2 = self.cls.seq_relationship(_pooled(encoder, hidden_RD[masked:]))
        return mlm_logits_MV, sop_logits_B2


class SequenceClassifier(nn.Layer):
    """Encoder → one vector a row → dropout → Linear: a batch → logits_BC. Weights: ``<prefix>.*``, ``classifier.*``.

    pooling: "cls" takes the first token through the pooler; "mean" averages the row's tokens, special ones included, and has no
    pooler. Raises ModelError for another.
    """

    def __init__(self, config: ModelConfig, num_classes: int, dropout: float = 0.1, *, pooling: str = "cls") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ModelError("unknown pooling", expected=POOLINGS, got=repr(pooling))
        self.config = config
        _attach_encoder(self, config, pooler=pooling == "cls")
        self.classifier = Linear(config.hidden_size, num_classes, config)
        self._dropout, self._pooling = dropout, pooling

    @property
    def encoder(self) -> Any:
        return getattr(self, self.config.prefix)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        if self._pooling == "cls":
            first_BD = self.encoder(input_ids_BL, token_type_ids_BL, lengths_B, _first_rows(input_ids_BL))
            pooled_BD = _pooled(self.encoder, first_BD)
        else:
            pooled_BD = mean_of_tokens(self.encoder(input_ids_BL, token_type_ids_BL, lengths_B), lengths_B)
        return self.classifier(dropout(pooled_BD, self._dropout, training=self.training))


def mean_of_tokens(hidden_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the mean over each row's tokens, without padding, [B, D]."""
    is_real_BL = paddle.arange(hidden_BLD.shape[1], dtype=lengths_B.dtype).unsqueeze(0) < lengths_B.unsqueeze(1)
    share_BL = is_real_BL.astype(hidden_BLD.dtype) / lengths_B.astype(hidden_BLD.dtype).unsqueeze(1)
    return paddle.matmul(share_BL.unsqueeze(1), hidden_BLD).squeeze(1)


class TokenClassifier(nn.Layer):
    """Encoder, without pooler → dropout → Linear: a batch → logits_BLC. Weights: ``<prefix>.*``, ``classifier.*``."""

    def __init__(self, config: ModelConfig, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        _attach_encoder(self, config, pooler=False)
        self.classifier = Linear(config.hidden_size, num_classes, config)
        self._dropout = dropout

    @property
    def encoder(self) -> Any:
        return getattr(self, self.config.prefix)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        hidden_BLD = self.encoder(input_ids_BL, token_type_ids_BL, lengths_B)
        return self.classifier(dropout(hidden_BLD, self._dropout, training=self.training))
