"""RoFormer (Su et al. 2021): a post-LN transformer encoder with rotary position embedding. Weights are named as PaddleNLP's.

Word and token type embeddings → LN → dropout → (where the embedding size differs) a projection to the hidden size → blocks of
attention with turned queries and keys, and a gelu feed-forward. Values turn too with `rotary_value`.

Legend: B rows of the batch, L padded length, D hidden size, E embedding size, H heads, N features of a head (D = H·N),
R selected rows. Rows of a batch are numbered b·L + l.
"""

from __future__ import annotations

from functools import partial

from paddle import Tensor, nn

from pretrain.attention import attend, select_rows, split_heads
from pretrain.blocks import Block, Blocks, require_length
from pretrain.config import ModelConfig
from pretrain.layers import LayerNorm, Linear, dropout, embedding, gelu
from pretrain.rotary import Attending, RotaryTables, split_and_rotate


class Embeddings(nn.Layer):
    """Word and token type embeddings → layer norm → dropout: ids_BL → x_BLE. Positions enter by rotation only."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = embedding(config.vocab_size, config)
        self.token_type_embeddings = embedding(config.type_vocab_size, config)
        self.layer_norm = LayerNorm(config.embedding_size, config)
        self._dropout = config.dropout

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        x_BLE = self.word_embeddings(input_ids_BL) + self.token_type_embeddings(token_type_ids_BL)
        return dropout(self.layer_norm(x_BLE), self._dropout, training=self.training)


class SelfAttention(nn.Layer):
    """Multi-head attention with rotated queries and keys: x_BLD → y_BLD, or y_RD for selected rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.q_proj = Linear(size, size, config)
        self.k_proj = Linear(size, size, config)
        self.v_proj = Linear(size, size, config)
        self.out_proj = Linear(size, size, config)
        self._head_size, self._rotary_value, self._dropout = config.head_size, config.rotary_value, config.attention_dropout

    def forward(self, x_BLD: Tensor, shared: Attending, rows_R: Tensor | None) -> Tensor:
        q_BHNL = split_and_rotate(self.q_proj(x_BLD), shared.of_queries)
        k_BHNL = split_and_rotate(self.k_proj(x_BLD), shared.of_keys)
        v_BLD = self.v_proj(x_BLD)
        v_BHNL = split_and_rotate(v_BLD, shared.of_keys) if self._rotary_value else split_heads(v_BLD, self._head_size)
        y_BLD = attend(q_BHNL, k_BHNL, v_BHNL, shared.mask_BHLL, self._dropout, training=self.training)
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


class RoFormer(nn.Layer):
    """The encoder: ids of a batch → hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = Linear(config.embedding_size, config.hidden_size, config)
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
        """Return the hidden states of all positions, [B, L, D], or of the rows numbered b·L + l in `rows_R` only, [R, D].

        lengths_B: tokens of each row including special ones; what follows them is padding and changes nothing else. Hidden
        states at padding carry no meaning. documents_BL: for rows that several documents are packed into, the number of the
        document that each token is of; tokens of a document stand together. Each document then has the hidden states it would
        have in a row of its own. Raises ModelError for rows longer than `max_positions`.
        """
        embedded_BLE = self.embed(input_ids_BL, token_type_ids_BL, lengths_B)
        return self.encode(embedded_BLE, lengths_B, rows_R, documents_BL)

    def embed(
        self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return what the blocks start from, before it is brought to the hidden size, x_BLE."""
        require_length(self.config, input_ids_BL.shape[1])
        x_BLE: Tensor = self.embeddings(input_ids_BL, token_type_ids_BL)
        return x_BLE

    def encode(
        self, x_BLD: Tensor, lengths_B: Tensor, rows_R: Tensor | None = None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states of embedded tokens [B, L, E] as `forward` does."""
        if self.config.embedding_size != self.config.hidden_size:
            x_BLD = self.embeddings_project(x_BLD)
        return self.encoder(x_BLD, self._tables(x_BLD, lengths_B, documents_BL), rows_R)
