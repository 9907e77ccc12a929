"""Replaced token detection (ELECTRA, Clark et al. 2020): a small generator fills the masks, the encoder finds what it replaced.

The generator is a network of the same kind and depth, 1/4 as wide as a small encoder and 1/3 as a base one, over the encoder's
own embeddings (tied as in ELECTRA's code: words, positions, types and their norm). It learns as a masked language model; from its
distribution at each mask a token is drawn, and no gradient goes back through the draw. The encoder then says of every token
whether it was replaced: a drawn token that happens to be the right one was not.

Legend: B rows of the batch, L padded length, D hidden size, E embedding size, V vocabulary, M masked tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.config import ModelConfig, generator_config
from pretrain.encoders import build_encoder
from pretrain.heads import DiscriminatorHead, MLMHead


class Detection(NamedTuple):
    """What one forward pass gives: the generator's logits, the encoder's logits, whether tokens were replaced, which are real."""

    mlm_logits_MV: Tensor
    logits_BL: Tensor
    replaced_BL: Tensor
    is_real_BL: Tensor


class RTDModel(nn.Layer):
    """The encoder with its discriminator head, and the generator.

    Weights: ``<prefix>.*`` (the encoder), ``discriminator_predictions.*``, ``generator.*`` (without embeddings),
    ``generator_predictions.*``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.add_sublayer(config.prefix, build_encoder(config))
        self.discriminator_predictions = DiscriminatorHead(config)
        small = generator_config(config)
        # The generator reads the encoder's embeddings: its own table is as small as one can be, and dropped.
        self.generator = build_encoder(replace(small, vocab_size=1, pad_id=0))
        del self.generator.embeddings
        self.generator_predictions = MLMHead(small)

    @property
    def encoder(self) -> Any:
        return getattr(self, self.config.prefix)

    def forward(
        self,
        input_ids_BL: Tensor,
        token_type_ids_BL: Tensor,
        lengths_B: Tensor,
        masked_positions_M: Tensor,
        masked_labels_M: Tensor,
        draws_M: Tensor,
        documents_BL: Tensor | None = None,
    ) -> Detection:
        """masked_positions_M: numbers b·L + l; masked_labels_M: what stood there; draws_M: a number in [0, 1) for each.

        documents_BL: for rows that hold several samples, which one each token is of.
        """
        encoder = self.encoder
        embedded_BLE = encoder.embed(input_ids_BL, token_type_ids_BL, lengths_B, documents_BL)
        hidden_MD = self.generator.encode(embedded_BLE, lengths_B, masked_positions_M, documents_BL)
        mlm_logits_MV = self.generator_predictions(hidden_MD, encoder.embeddings.word_embeddings.weight)
        seen_BL, replaced_BL = _replace(input_ids_BL, masked_positions_M, masked_labels_M, sample(mlm_logits_MV, draws_M))
        logits_BL = self.discriminator_predictions(encoder(seen_BL, token_type_ids_BL, lengths_B, None, documents_BL))
        is_real_BL = paddle.arange(seen_BL.shape[1], dtype=lengths_B.dtype).unsqueeze(0) < lengths_B.unsqueeze(1)
        return Detection(mlm_logits_MV, logits_BL, replaced_BL, is_real_BL)


@paddle.no_grad()  # type: ignore[untyped-decorator]
def sample(logits_MV: Tensor, draws_M: Tensor) -> Tensor:
    """Return one id a row, drawn from softmax(logits) by inverting its cumulative sum at `draws_M`; int64[M]."""
    if logits_MV.shape[0] == 0:
        return paddle.zeros([0], dtype="int64")
    below_MV = paddle.cumsum(F.softmax(logits_MV.astype("float64"), axis=-1), axis=-1)
    threshold_M1 = draws_M.astype("float64").unsqueeze(1) * below_MV[:, -1:]
    return (below_MV <= threshold_M1).astype("int64").sum(axis=-1).clip(max=logits_MV.shape[1] - 1)


def _replace(ids_BL: Tensor, positions_M: Tensor, labels_M: Tensor, sampled_M: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ids with sampled tokens at the masks, and where these are not what stood there, bool[B, L]."""
    flat = ids_BL.reshape([-1])
    seen = paddle.scatter(flat, positions_M, sampled_M) if positions_M.shape[0] else flat
    was = paddle.scatter(flat, positions_M, labels_M) if positions_M.shape[0] else flat
    return seen.reshape(ids_BL.shape), (seen != was).reshape(ids_BL.shape)
