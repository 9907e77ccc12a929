"""RoFormer: a post-LN transformer encoder with rotary position embedding. Weights are named and laid out as PaddleNLP's.

Each block is x = LN(x + Drop(Attn(x))); x = LN(x + Drop(FFN(x))), after word and token type embeddings → LN → dropout and,
where the embedding size differs, a projection to the hidden size. Rotary embedding (Su et al. 2021, interleaved pairs): at
position m the features (x[2i], x[2i+1]) of a head turn by the angle m · 10000^(-2i/N). Queries and keys turn; values too with
`rotary_value`.

Three things make it quick, none of which changes what is computed:

1. Attention works on heads with the position innermost (BHNL): one plain matrix transpose leads there and one leads back, where
   the usual BHLN needs a four-axis one, and rotation becomes two multiplications and a small product per head.
2. The last block's row-wise half (output projection, feed-forward, norms) runs only for the rows asked for. A masked language
   model asks for 15 % of them.
3. On CPU, training uses the project's own backward passes of linear layer, layer norm and rotation, and its own dropout masks:
   paddle's kernels for broadcast gradients and random numbers take several times longer there. `_own_kernels` is the
   one switch; everywhere else plain paddle operators run.

Legend: B rows of the batch, L padded length, D hidden size, E embedding size, H heads, N features of a head (D = H·N),
R selected rows, K inputs and F outputs of a linear layer. Rows of a batch are numbered b·L + l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from pretrain.config import ModelConfig
from pretrain.errors import ModelError

_MASKED_SCORE = -1e4
_ROTARY_BASE = 10000.0


def _own_kernels(x: Tensor) -> bool:
    return bool(paddle.in_dynamic_mode()) and x.place.is_cpu_place()


def _recording(x: Tensor) -> bool:
    return _own_kernels(x) and bool(paddle.is_grad_enabled())


def _rows(x: Tensor) -> Tensor:
    return x.reshape([-1, x.shape[-1]])


def _column_sums(x_RF: Tensor) -> Tensor:
    # A product with ones runs at memory speed on all cores; paddle's sum over the first axis takes 15 times longer.
    return paddle.matmul(paddle.ones([1, x_RF.shape[0]], dtype=x_RF.dtype), x_RF).reshape([-1])


def _down_rows(row_F: Tensor, count: int) -> Tensor:
    # Spread before adding or multiplying: paddle's broadcast operators take several times longer than this product.
    return paddle.matmul(paddle.ones([count, 1], dtype=row_F.dtype), row_F.reshape([1, -1]))


class _LinearOnCpu(PyLayer):  # x_K @ w_KF + b_F, the gradient of b by `_column_sums`
    @staticmethod
    def forward(ctx, x, weight_KF, bias_F):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight_KF)
        ctx.bias_is_frozen = bias_F.stop_gradient
        x_RK = _rows(x)
        y_RF = paddle.matmul(x_RK, weight_KF).add_(_down_rows(bias_F, x_RK.shape[0]))
        return y_RF.reshape([*x.shape[:-1], -1])

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, weight_KF = ctx.saved_tensor()
        gradient_RF = _rows(gradient)
        d_x = None if x.stop_gradient else paddle.matmul(gradient_RF, weight_KF, transpose_y=True).reshape(x.shape)
        d_weight = None if weight_KF.stop_gradient else paddle.matmul(_rows(x), gradient_RF, transpose_x=True)
        return d_x, d_weight, None if ctx.bias_is_frozen else _column_sums(gradient_RF)


class _LayerNormOnCpu(PyLayer):  # means, and their spreading over columns, by products with ones: see `_column_sums`
    @staticmethod
    def forward(ctx, x, scale_D, shift_D, epsilon):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, scale_D)
        ctx.epsilon, ctx.shift_is_frozen = epsilon, shift_D.stop_gradient
        return F.layer_norm(x, x.shape[-1:], scale_D, shift_D, epsilon)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, scale_D = ctx.saved_tensor()
        x_RD, gradient_RD = _rows(x), _rows(gradient)
        rows, size = x_RD.shape
        average_D1 = paddle.full([size, 1], 1 / size, dtype=x.dtype)
        ones_1D = paddle.ones([1, size], dtype=x.dtype)

        def spread_means(t_RD: Tensor) -> Tensor:
            return paddle.matmul(paddle.matmul(t_RD, average_D1), ones_1D)

        normal_RD = x_RD - spread_means(x_RD)
        variance_R1 = paddle.matmul(normal_RD * normal_RD, average_D1)
        inverse_sd_RD = paddle.matmul(paddle.rsqrt(variance_R1 + ctx.epsilon), ones_1D)
        normal_RD.multiply_(inverse_sd_RD)
        d_scale = None if scale_D.stop_gradient else _column_sums(gradient_RD * normal_RD)
        d_shift = None if ctx.shift_is_frozen else _column_sums(gradient_RD)
        if x.stop_gradient:
            return None, d_scale, d_shift
        d_x = gradient_RD * _down_rows(scale_D, rows)
        along_RD = spread_means(d_x * normal_RD).multiply_(normal_RD)
        d_x.subtract_(spread_means(d_x)).subtract_(along_RD).multiply_(inverse_sd_RD)
        return d_x.reshape(x.shape), d_scale, d_shift


class _GeluOnCpu(PyLayer):  # x · Φ(x), whose derivative is Φ(x) + x · φ(x); Φ is kept
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        cumulative = paddle.erf(x * math.sqrt(0.5)).scale_(0.5, 0.5)
        ctx.save_for_backward(x, cumulative)
        return x * cumulative

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, cumulative = ctx.saved_tensor()
        density = (x * x).scale_(-0.5, -0.5 * math.log(2 * math.pi)).exp_()
        return density.multiply_(x).add_(cumulative).multiply_(gradient)


def gelu(x: Tensor) -> Tensor:
    """Return x · Φ(x), exactly (by erf)."""
    return _GeluOnCpu.apply(x) if _recording(x) else F.gelu(x)


class Linear(nn.Linear):
    """x @ weight_KF + bias_F, initialised N(0, initializer_range) and 0."""

    def __init__(self, inputs: int, outputs: int, config: ModelConfig) -> None:
        super().__init__(inputs, outputs, weight_attr=normal_init(config), bias_attr=_zero_init())

    def forward(self, x: Tensor) -> Tensor:
        if _recording(x):
            return _LinearOnCpu.apply(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis, initialised to scale 1 and shift 0."""

    def __init__(self, size: int, config: ModelConfig) -> None:
        super().__init__(size, epsilon=config.layer_norm_eps)
        self._size, self._eps = size, config.layer_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        if _recording(x):
            return _LayerNormOnCpu.apply(x, self.weight, self.bias, self._eps)
        return F.layer_norm(x, [self._size], self.weight, self.bias, self._eps)


def normal_init(config: ModelConfig) -> paddle.ParamAttr:
    """Return the attribute of a weight drawn from N(0, initializer_range) by paddle's generator: `paddle.seed` fixes it."""
    return paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, config.initializer_range))


def _zero_init() -> paddle.ParamAttr:
    return paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))


def dropout(x: Tensor, rate: float, *, training: bool) -> Tensor:
    """Zero each element with probability `rate` (on CPU: to the nearest 1/65536) and scale the others up, when training.

    What is dropped follows from paddle's generator alone, so `paddle.seed` fixes it.
    """
    if not training or rate == 0:
        return x
    if not _own_kernels(x):
        return F.dropout(x, rate, training=True)
    count = math.prod(x.shape)
    key = paddle.randint(0, 2**31 - 1, [4], dtype="int32").numpy()
    bits = np.random.SFC64(key.astype(np.uint32)).random_raw((count + 3) // 4).view(np.uint16)[:count]
    threshold = round(rate * 65536)
    kept = np.multiply(bits >= threshold, np.float32(65536 / (65536 - threshold)), dtype=np.float32)
    return x * paddle.to_tensor(kept.reshape(x.shape), dtype=x.dtype)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The turning of every head's features by their position: y = x · cos + (swap @ x) · sin.

    `swap` takes (x[2i], x[2i+1]) to (-x[2i+1], x[2i]). A factor may be folded into cos and sin.
    """

    cos_BHNL: Tensor
    sin_BHNL: Tensor
    swap_NN: Tensor

    def __call__(self, x_BHNL: Tensor) -> Tensor:
        return x_BHNL * self.cos_BHNL + paddle.matmul(self.swap_NN, x_BHNL) * self.sin_BHNL

    def transposed(self, y_BHNL: Tensor) -> Tensor:
        """Apply the transpose of the linear map, as a backward pass does."""
        return y_BHNL * self.cos_BHNL + paddle.matmul(self.swap_NN, y_BHNL * self.sin_BHNL, transpose_x=True)


class _SplitAndRotateOnCpu(PyLayer):
    @staticmethod
    def forward(ctx, x_BLD, rotation):  # type: ignore[no-untyped-def]
        ctx.rotation = rotation
        return rotation(_split_heads(x_BLD, rotation.swap_NN.shape[0]))

    @staticmethod
    def backward(ctx, gradient_BHNL):  # type: ignore[no-untyped-def]
        return _join_heads(ctx.rotation.transposed(gradient_BHNL))


def _split_heads(x_BLD: Tensor, head_size: int) -> Tensor:
    rows, length, hidden = x_BLD.shape
    return x_BLD.transpose([0, 2, 1]).reshape([rows, hidden // head_size, head_size, length])


def _join_heads(x_BHNL: Tensor) -> Tensor:
    rows, heads, head_size, length = x_BHNL.shape
    x_BLD = x_BHNL.reshape([rows, heads * head_size, length]).transpose([0, 2, 1])
    # A transpose is only a view; a linear layer, forward and backward, would copy it into order once each.
    return x_BLD.contiguous() if _own_kernels(x_BLD) else x_BLD


def _split_and_rotate(x_BLD: Tensor, rotation: Rotation) -> Tensor:
    if _recording(x_BLD):
        return _SplitAndRotateOnCpu.apply(x_BLD, rotation)
    return rotation(_split_heads(x_BLD, rotation.swap_NN.shape[0]))


def rotary_angles(length: int, head_size: int) -> npt.NDArray[np.float64]:
    """Return the angle of every feature at every position, float64[N, L], equal for the two features of a pair."""
    turns_P = np.power(_ROTARY_BASE, -np.arange(0, head_size, 2) / head_size)
    angles_NL: npt.NDArray[np.float64] = np.repeat(turns_P, 2)[:, None] * np.arange(length)[None, :]
    return angles_NL


@dataclass(frozen=True, kw_only=True)
class Attending:
    """What all blocks of one forward pass share. The score's 1/sqrt(N) is folded into the queries' rotation."""

    of_queries: Rotation
    of_keys: Rotation
    mask_BHLL: Tensor | None


class Embeddings(nn.Layer):
    """Word and token type embeddings → layer norm → dropout: ids_BL → x_BLE. Positions enter by rotation only."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, weight_attr=normal_init(config))
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.embedding_size, weight_attr=normal_init(config))
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
        q_BHNL = _split_and_rotate(self.q_proj(x_BLD), shared.of_queries)
        k_BHNL = _split_and_rotate(self.k_proj(x_BLD), shared.of_keys)
        v_BLD = self.v_proj(x_BLD)
        v_BHNL = _split_and_rotate(v_BLD, shared.of_keys) if self._rotary_value else _split_heads(v_BLD, self._head_size)
        scores_BHLL = paddle.matmul(q_BHNL, k_BHNL, transpose_x=True)
        if shared.mask_BHLL is not None:
            scores_BHLL = scores_BHLL + shared.mask_BHLL
        shares_BHLL = dropout(F.softmax(scores_BHLL, axis=-1), self._dropout, training=self.training)
        y_BLD = _join_heads(paddle.matmul(v_BHNL, shares_BHLL, transpose_y=True))
        return self.out_proj(y_BLD if rows_R is None else select_rows(y_BLD, rows_R))


class Block(nn.Layer):
    """One post-LN block: x_BLD → x_BLD, or x_RD for selected rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.linear1 = Linear(config.hidden_size, config.intermediate_size, config)
        self.linear2 = Linear(config.intermediate_size, config.hidden_size, config)
        self.norm1 = LayerNorm(config.hidden_size, config)
        self.norm2 = LayerNorm(config.hidden_size, config)
        self._dropout = config.dropout

    def forward(self, x_BLD: Tensor, shared: Attending, rows_R: Tensor | None) -> Tensor:
        attended = self.self_attn(x_BLD, shared, rows_R)
        x = x_BLD if rows_R is None else select_rows(x_BLD, rows_R)
        x = self.norm1(x + dropout(attended, self._dropout, training=self.training))
        fed = self.linear2(gelu(self.linear1(x)))
        return self.norm2(x + dropout(fed, self._dropout, training=self.training))


def select_rows(x_BLD: Tensor, rows_R: Tensor) -> Tensor:
    """Return the rows numbered b·L + l of a batch, x_RD."""
    return paddle.gather(_rows(x_BLD), rows_R)


class Blocks(nn.Layer):
    """The stack of blocks. Not a `paddle.nn.TransformerEncoder`: paddlenlp replaces the methods of that class on import."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.LayerList([Block(config) for _ in range(config.num_layers)])

    def forward(self, x_BLD: Tensor, shared: Attending, rows_R: Tensor | None) -> Tensor:
        for block in self.layers[:-1]:
            x_BLD = block(x_BLD, shared, None)
        return self.layers[-1](x_BLD, shared, rows_R)


class RoFormer(nn.Layer):
    """The encoder: ids of a batch → hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = Linear(config.embedding_size, config.hidden_size, config)
        self.encoder = Blocks(config)
        self._angles_of: dict[int, npt.NDArray[np.float64]] = {}

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, lengths_B: Tensor, rows_R: Tensor | None = None) -> Tensor:
        """Return the hidden states of all positions, [B, L, D], or of the rows numbered b·L + l in `rows_R` only, [R, D].

        lengths_B: tokens of each row including special ones; what follows them is padding and changes nothing else. Hidden
        states at padding carry no meaning. Raises ModelError for rows longer than `max_positions`.
        """
        length = input_ids_BL.shape[1]
        if length > self.config.max_positions:
            raise ModelError(
                "rows are longer than the model takes", expected=f"at most {self.config.max_positions} tokens", got=length
            )
        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL)
        if self.config.embedding_size != self.config.hidden_size:
            x_BLD = self.embeddings_project(x_BLD)
        return self.encoder(x_BLD, self._shared(x_BLD, lengths_B), rows_R)

    def _shared(self, x_BLD: Tensor, lengths_B: Tensor) -> Attending:
        batch, length = x_BLD.shape[0], x_BLD.shape[1]
        heads, head_size = self.config.num_heads, self.config.head_size
        if length not in self._angles_of:
            self._angles_of[length] = rotary_angles(length, head_size)
        angles_NL = self._angles_of[length]
        swap = np.zeros((head_size, head_size), dtype=np.float32)
        even = np.arange(0, head_size, 2)
        swap[even, even + 1], swap[even + 1, even] = -1, 1

        def table(values_NL: npt.NDArray[np.float64]) -> Tensor:
            # Spread over rows and heads once: multiplying by a broadcast operand is ten times slower on CPU.
            return paddle.to_tensor(values_NL, dtype=x_BLD.dtype).reshape([1, 1, head_size, length]).tile([batch, heads, 1, 1])

        def rotation(factor: float) -> Rotation:
            return Rotation(
                cos_BHNL=table(np.cos(angles_NL) * factor),
                sin_BHNL=table(np.sin(angles_NL) * factor),
                swap_NN=paddle.to_tensor(swap, dtype=x_BLD.dtype),
            )

        return Attending(
            of_queries=rotation(head_size**-0.5), of_keys=rotation(1.0), mask_BHLL=self._mask(lengths_B, length, x_BLD.dtype)
        )

    def _mask(self, lengths_B: Tensor, length: int, dtype: paddle.dtype) -> Tensor | None:
        # Looking at the lengths is free on CPU; on a GPU it would stall the queue, and the mask is always added.
        if _own_kernels(lengths_B) and int(lengths_B.min()) >= length:
            return None
        padding_BL = paddle.arange(length, dtype=lengths_B.dtype).unsqueeze(0) >= lengths_B.unsqueeze(1)
        mask_B11L = (padding_BL.astype(dtype) * _MASKED_SCORE).unsqueeze([1, 2])
        return mask_B11L.tile([1, self.config.num_heads, length, 1])
