"""RoFormerV2 (Su 2022): RoFormer without biases, with a norm that has no parameters. Weights are named as PaddleNLP's.

Word and token type embeddings → RMS norm → dropout → blocks of attention with turned queries and keys, and a relu feed-forward.
No linear layer has a bias, no norm a scale or shift; weights are drawn from a truncated normal that shrinks with depth
(`pretrain.layers.initial_weights`). There is no pooler: what would be pooled is the first token itself.

Legend: B rows of the batch, L padded length, D hidden size, R selected rows. Rows of a batch are numbered b·L + l.
"""

from __future__ import annotations

from functools import partial

import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.blocks import Block, Blocks, require_length
from pretrain.config import ModelConfig
from pretrain.layers import Linear, RMSNorm, dropout, embedding
from pretrain.roformer import SelfAttention
from pretrain.rotary import RotaryTables


class Embeddings(nn.Layer):
    """Word and token type embeddings → RMS norm → dropout: ids_BL → x_BLD."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = embedding(config.vocab_size, config)
        self.token_type_embeddings = embedding(config.type_vocab_size, config)
        self.norm = RMSNorm(config)
        self._dropout = config.dropout

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        x_BLD = self.word_embeddings(input_ids_BL) + self.token_type_embeddings(token_type_ids_BL)
        return dropout(self.norm(x_BLD), self._dropout, training=self.training)


def _block(config: ModelConfig) -> Block:
    return Block(
        config,
        attention=SelfAttention(config),
        inner=Linear(config.hidden_size, config.intermediate_size, config),
        outer=Linear(config.intermediate_size, config.hidden_size, config),
        norm=partial(RMSNorm, config),
        activation=F.relu,
    )


class RoFormerV2(nn.Layer):
    """The encoder: ids of a batch → hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Blocks(config, _block)
        self._tables = RotaryTables(config)

    def forward(
        self,
        input_ids_BL: Tensor,
        token_type_ids_BL: Tensor,
        lengths_B: Tensor,
        rows_R: Tensor | None = None,
        documents_BL: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states of all positions, [B, L, D], or of the rows in `rows_R`, [R, D]; see `RoFormer.forward`."""
        require_length(self.config, input_ids_BL.shape[1])
        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL)
        return self.encoder(x_BLD, self._tables(x_BLD, lengths_B, documents_BL), rows_R)
