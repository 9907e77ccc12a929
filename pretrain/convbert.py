"""ConvBERT (Jiang et al. 2020): BERT with half of the attention heads replaced by span-based dynamic convolution.

Each block's mixed attention has A heads of N features (A = heads / head_ratio, A·N = D/2, as transformers has it: with fewer
heads than the ratio, one head of D/2) and as many convolution heads beside them. For a convolution head:

1. a separable convolution of x (depthwise over K positions, then pointwise) gives a key of the span around each token;
2. key ⊙ query → Linear → softmax gives the token's own K kernel weights;
3. the weights sum up the K values around the token.

A window stops at the end of its document: padding, and other documents packed into the row, count as zeros, just as what lies
outside of the row does. Published implementations let padding in, so that a row's states depend on the width of its batch;
`conv_sees_padding` asks for exactly that, for weights trained so. Where the embedding size differs, a projection follows the
embeddings; with `num_groups` above 1 (medium-small) the feed-forward is grouped. Weights are named as PaddleNLP's.

Legend: B rows of the batch, L padded length, D hidden size, M = D/2 features of all heads of a kind, A heads of a kind,
N features of a head, K width of the convolution, R selected rows (numbered b·L + l), or B·L·A heads of all tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.attention import attend, padding_mask, score_mask, select_rows, split_heads
from pretrain.bert import Embeddings, positions
from pretrain.blocks import Block, Blocks, require_length
from pretrain.config import ModelConfig
from pretrain.cpu_kernels import PlacesOnCpu, recording
from pretrain.layers import GroupedLinear, LayerNorm, Linear, gelu, initial_weights, linear_of_rows, zeros


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What the blocks of one forward pass share.

    kept_BL1: 0 at padding, 1 elsewhere; None when there is no padding or windows may see it.
    same_KBL1: 1 where the window's k-th place holds a token of the same document as its middle; None without packing.
    """

    mask_BHLL: Tensor | None
    kept_BL1: Tensor | None
    same_KBL1: list[Tensor] | None

    def hide_padding(self, x_BLD: Tensor) -> Tensor:
        return x_BLD if self.kept_BL1 is None else x_BLD * self.kept_BL1

    def places(self, x_BLD: Tensor, width: int) -> Iterator[Tensor]:
        """Yield, for each of the `width` places of the window, what every token finds there, [B, L, D]; zeros outside."""
        reach = width // 2
        if paddle.in_dynamic_mode():
            padded = F.pad(x_BLD, [reach, reach], data_format="NLC")
        else:
            # Not by an operator for padding: paddle2onnx pads another axis.
            border = (x_BLD[:, :1] * 0).tile([1, reach, 1])
            padded = paddle.concat([border, x_BLD, border], axis=1)
        if recording(padded) and not padded.stop_gradient:
            places = PlacesOnCpu.apply(padded, width)
        else:
            # Counted from the end: a static graph does not know the length.
            places = tuple(padded[:, k : k + 1 - width or None] for k in range(width))
        for k, place_BLD in enumerate(places):
            yield place_BLD if self.same_KBL1 is None else place_BLD * self.same_KBL1[k]


class Depthwise(nn.Layer):
    """One kernel of K weights a feature: weight [D, 1, K]. The convolution itself is the sum over the window's places."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.conv_kernel_size
        self.weight = self.create_parameter([config.hidden_size, 1, width], attr=initial_weights(config, width))

    def forward(self, x_BLD: Tensor, windows: Windows) -> Tensor:
        width = self.weight.shape[2]
        weights_KD = self.weight.reshape([-1, width]).transpose([1, 0]).unbind(0)
        # Weights are spread over the rows by a product: broadcasting, and its gradient above all, is slow on CPU.
        ones_BL1 = paddle.ones([*x_BLD.shape[:2], 1], dtype=x_BLD.dtype)
        spread = (paddle.matmul(ones_BL1, weight_D.unsqueeze(0)) for weight_D in weights_KD)
        return paddle.add_n(list(map(paddle.multiply, windows.places(x_BLD, width), spread)))


class Pointwise(nn.Layer):
    """A convolution of width 1, so a linear layer, whose weight [M, D, 1] is kept as a convolution's."""

    def __init__(self, outputs: int, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.weight = self.create_parameter([outputs, size, 1], attr=initial_weights(config, size))

    def forward(self, x_BLD: Tensor, bias_M: Tensor) -> Tensor:
        return linear_of_rows(x_BLD, self.weight.squeeze(2), bias_M)


class SeparableConv(nn.Layer):
    """Depthwise, then pointwise convolution, plus a bias: x_BLD → y_BLM."""

    def __init__(self, outputs: int, config: ModelConfig) -> None:
        super().__init__()
        self.depthwise = Depthwise(config)
        self.pointwise = Pointwise(outputs, config)
        self.bias = self.create_parameter([outputs], attr=zeros(), is_bias=True)

    def forward(self, x_BLD: Tensor, windows: Windows) -> Tensor:
        return self.pointwise(self.depthwise(windows.hide_padding(x_BLD), windows), self.bias)


class MixedAttention(nn.Layer):
    """Attention heads and convolution heads side by side: x_BLD → y_BLD, or y_RD for selected rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, half, heads, width = config.hidden_size, config.hidden_size // 2, config.attention_heads, config.conv_kernel_size
        self.q_proj = Linear(size, half, config)
        self.k_proj = Linear(size, half, config)
        self.v_proj = Linear(size, half, config)
        self.out_proj = Linear(size, size, config)
        self.key_conv_attn_layer = SeparableConv(half, config)
        self.conv_kernel_layer = Linear(half, heads * width, config)
        self.conv_out_layer = Linear(size, half, config)
        self._heads, self._head_size, self._width = heads, config.head_size, width
        self._dropout = config.attention_dropout

    def forward(self, x_BLD: Tensor, windows: Windows, rows_R: Tensor | None) -> Tensor:
        q_BLM = self.q_proj(x_BLD)
        q_BHNL = split_heads(q_BLM, self._head_size) * self._head_size**-0.5
        k_BHNL, v_BHNL = (split_heads(project(x_BLD), self._head_size) for project in (self.k_proj, self.v_proj))
        attended_BLM = attend(q_BHNL, k_BHNL, v_BHNL, windows.mask_BHLL, self._dropout, training=self.training)
        y_BLD = paddle.concat([attended_BLM, self._convolved(x_BLD, q_BLM, windows)], axis=-1)
        return self.out_proj(y_BLD if rows_R is None else select_rows(y_BLD, rows_R))

    def _convolved(self, x_BLD: Tensor, q_BLM: Tensor, windows: Windows) -> Tensor:
        batch, length = x_BLD.shape[0], x_BLD.shape[1]
        span_BLM = self.key_conv_attn_layer(x_BLD, windows)
        kernel_RK = F.softmax(self.conv_kernel_layer(span_BLM * q_BLM).reshape([-1, self._width]), axis=-1)
        ones_1N = paddle.ones([1, self._head_size], dtype=x_BLD.dtype)
        spread = (paddle.matmul(weight_R1, ones_1N) for weight_R1 in kernel_RK.split(self._width, axis=1))
        values_BLM = windows.hide_padding(self.conv_out_layer(x_BLD))
        places = (place.reshape([-1, self._head_size]) for place in windows.places(values_BLM, self._width))
        summed_RN = paddle.add_n(list(map(paddle.multiply, places, spread)))
        return summed_RN.reshape([batch, length, -1])


def _block(config: ModelConfig) -> Block:
    linear = GroupedLinear if config.num_groups > 1 else Linear
    return Block(
        config,
        attention=MixedAttention(config),
        inner=linear(config.hidden_size, config.intermediate_size, config),
        outer=linear(config.intermediate_size, config.hidden_size, config),
        norm=partial(LayerNorm, config.hidden_size, config),
        activation=gelu,
    )


class ConvBert(nn.Layer):
    """The encoder: ids of a batch → hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = Linear(config.embedding_size, config.hidden_size, config)
        self.encoder = Blocks(config, _block)

    def forward(
        self,
        input_ids_BL: Tensor,
        token_type_ids_BL: Tensor,
        lengths_B: Tensor,
        rows_R: Tensor | None = None,
        documents_BL: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states of all positions, [B, L, D], or of the rows in `rows_R`, [R, D]; see `RoFormer.forward`.

        documents_BL: for rows that several documents are packed into, the number of the document that each token is of; tokens
        of a document stand together. Each document then has the hidden states it would have in a row of its own.
        """
        embedded_BLE = self.embed(input_ids_BL, token_type_ids_BL, lengths_B, documents_BL)
        return self.encode(embedded_BLE, lengths_B, rows_R, documents_BL)

    def embed(
        self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return what the blocks start from, before it is brought to the hidden size, x_BLE."""
        length = input_ids_BL.shape[1]
        require_length(self.config, length)
        positions_BL = positions(self.config, length, lengths_B, documents_BL)
        x_BLE: Tensor = self.embeddings(input_ids_BL, token_type_ids_BL, positions_BL)
        return x_BLE

    def encode(
        self, x_BLD: Tensor, lengths_B: Tensor, rows_R: Tensor | None = None, documents_BL: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states of embedded tokens [B, L, E] as `forward` does."""
        if self.config.embedding_size != self.config.hidden_size:
            x_BLD = self.embeddings_project(x_BLD)
        return self.encoder(x_BLD, self._windows(x_BLD, lengths_B, documents_BL), rows_R)

    def _windows(self, x_BLD: Tensor, lengths_B: Tensor, documents_BL: Tensor | None) -> Windows:
        length, dtype, heads, width = x_BLD.shape[1], x_BLD.dtype, self.config.attention_heads, self.config.conv_kernel_size
        mask_BHLL = padding_mask(lengths_B, length, heads, dtype)
        kept_BL1 = same_KBL1 = None
        if mask_BHLL is not None and not self.config.conv_sees_padding:
            is_real_BL = paddle.arange(length, dtype=lengths_B.dtype).unsqueeze(0) < lengths_B.unsqueeze(1)
            kept_BL1 = is_real_BL.astype(dtype).unsqueeze(2)
        if documents_BL is not None:
            mask_BHLL = score_mask(lengths_B, length, heads, dtype, documents_BL)
            around = F.pad(documents_BL.unsqueeze(2), [width // 2, width // 2], value=-1, data_format="NLC").squeeze(2)
            same_KBL1 = [(around[:, k : k + length] == documents_BL).astype(dtype).unsqueeze(2) for k in range(width)]
        return Windows(mask_BHLL=mask_BHLL, kept_BL1=kept_BL1, same_KBL1=same_KBL1)
