"""BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): one post-LN encoder with learnt absolute positions.

Word, position and token type embeddings → LN → dropout → blocks of attention and a gelu feed-forward. The two differ in
their positions: BERT counts from 0; RoBERTa counts from padding id + 1, and its padding stands at the position padding id. So
its table has `max_positions` + padding id + 1 rows (514 for 512 tokens). A network with one token type (RoBERTa) knows no
segments: all its tokens have type 0, whatever the batch says. Weights are named as PaddleNLP's.

Legend: B rows of the batch, L padded length, D hidden size, H heads, N features of a head (D = H·N), R selected rows. Rows of
a batch are numbered b·L + l.
"""

from __future__ import annotations

from functools import partial

import paddle
from paddle import Tensor, nn

from pretrain.attention import attend, positions_within, score_mask, select_rows, split_heads
from pretrain.blocks import Block, Blocks, require_length
from pretrain.config import ModelConfig
from pretrain.layers import LayerNorm, Linear, dropout, embedding, gelu


def positions(config: ModelConfig, length: int, lengths_B: Tensor, documents_BL: Tensor | None = None) -> Tensor:
    """Return the row of the position table for every token: [1, L], or [B, L] where padding or documents have their own."""
    place_1L = paddle.arange(length, dtype="int64").unsqueeze(0)
    position = place_1L if documents_BL is None else positions_within(documents_BL)
    if config.architecture != "roberta":
        return position
    is_real_BL = (place_1L < lengths_B.unsqueeze(1)).astype("int64")
    return (position + 1) * is_real_BL + config.pad_id


class Embeddings(nn.Layer):
    """Word, position and token type embeddings → layer norm → dropout: ids_BL → x_BLE."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = embedding(config.vocab_size, config)
        self.position_embeddings = embedding(config.position_rows, config)
        self.token_type_embeddings = embedding(config.type_vocab_size, config)
        self.layer_norm = LayerNorm(config.embedding_size, config)
        self._dropout, self._has_segments = config.dropout, config.type_vocab_size > 1
        # Where a network reads padding, transformers keeps padding's word embedding as it is; elsewhere nothing depends on it.
        self._constant_id = config.pad_id if config.conv_sees_padding else None

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, positions_BL: Tensor) -> Tensor:
        types_BL = token_type_ids_BL if self._has_segments else paddle.zeros_like(token_type_ids_BL)
        # Positions may come as one row for all: it is spread by index, since adding it would broadcast.
        positions_BL = positions_BL.expand(input_ids_BL.shape)
        words_BLE = self.word_embeddings(input_ids_BL)
        if self._constant_id is not None:
            learns_BL1 = (input_ids_BL != self._constant_id).astype(words_BLE.dtype).unsqueeze(2)
            words_BLE = words_BLE * learns_BL1 + (words_BLE * (1 - learns_BL1)).detach()
        x_BLE = words_BLE + self.position_embeddings(positions_BL)
        x_BLE = x_BLE + self.token_type_embeddings(types_BL)
        return dropout(self.layer_norm(x_BLE), self._dropout, training=self.training)


class SelfAttention(nn.Layer):
    """Multi-head attention: x_BLD → y_BLD, or y_RD for selected rows. `mask_BHLL` is added to the scores."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.q_proj = Linear(size, size, config)
        self.k_proj = Linear(size, size, config)
        self.v_proj = Linear(size, size, config)
        self.out_proj = Linear(size, size, config)
        self._head_size, self._dropout = config.head_size, config.attention_dropout

    def forward(self, x_BLD: Tensor, mask_BHLL: Tensor | None, rows_R: Tensor | None) -> Tensor:
        q_BHNL = split_heads(self.q_proj(x_BLD), self._head_size) * self._head_size**-0.5
        k_BHNL, v_BHNL = (split_heads(project(x_BLD), self._head_size) for project in (self.k_proj, self.v_proj))
        y_BLD = attend(q_BHNL, k_BHNL, v_BHNL, mask_BHLL, self._dropout, training=self.training)
        return self.out_proj(y_BLD if rows_R is None else select_rows(y_BLD, rows_R))


def _block(config: ModelConfig) -> Block:
    return Block(
        config,
        attention=SelfAttention(config),
        inner=Linear(config.hidden_size, config.intermediate_size, config),
        outer=Linear(config.intermediate_size, config.hidden_size, config),
        norm=partial(LayerNorm, config.hidden_size, config),
        activation=gelu,
    )


class Bert(nn.Layer):
    """The encoder: ids of a batch → hidden states. RoBERTa when the config's architecture says so."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Blocks(config, _block)

    def forward(
        self,
        input_ids_BL: Tensor,
        token_type_ids_BL: Tensor,
        lengths_B: Tensor,
        rows_R: Tensor | None = None,
        documents_BL: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states of all positions, [B, L, D], or of the rows in `rows_R`, [R, D]; see `RoFormer.forward`."""
        length = input_ids_BL.shape[1]
        require_length(self.config, length)
        positions_BL = positions(self.config, length, lengths_B, documents_BL)
        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL, positions_BL)
        mask_BHLL = score_mask(lengths_B, length, self.config.num_heads, x_BLD.dtype, documents_BL)
        return self.encoder(x_BLD, mask_BHLL, rows_R)
