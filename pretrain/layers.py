"""The layers that all networks are made of: linear, norms, gelu, dropout. Weights are laid out as paddle's, so as PaddleNLP's.

Legend: K inputs and F outputs of a linear layer, G groups, D features.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.config import ModelConfig
from pretrain.cpu_kernels import GeluOnCpu, LayerNormOnCpu, LinearOnCpu, as_rows, blocks, own_kernels, recording, tensor_of
from pretrain.emulate import is_rounding, matmul

_TRUNCATED_AT = 2.0  # standard deviations
_SD_OF_TRUNCATED = 1.13684723  # of the normal distribution that has standard deviation 1 once cut off at ± 2 of its own


def initial_weights(config: ModelConfig, fan_in: int) -> paddle.ParamAttr:
    """Return how a matrix of the network is drawn; `paddle.seed` fixes it. fan_in: its inputs; of an embedding, its features.

    N(0, initializer_range), but for RoFormerV2: truncated normal of standard deviation 1/sqrt(fan_in · layers), as
    bert4keras draws it (order 2, gain 1).
    """
    if config.architecture != "roformer_v2":
        return paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, config.initializer_range))
    sd = _SD_OF_TRUNCATED / math.sqrt(fan_in * config.num_layers)
    # paddle takes the bounds as values, not as multiples of the standard deviation.
    bound = _TRUNCATED_AT * sd
    return paddle.ParamAttr(initializer=nn.initializer.TruncatedNormal(0.0, sd, -bound, bound))


def zeros() -> paddle.ParamAttr:
    """Return the attribute of a parameter that starts at 0."""
    return paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))


class Linear(nn.Linear):
    """x @ weight_KF + bias_F; without the bias where the network has none."""

    def __init__(self, inputs: int, outputs: int, config: ModelConfig) -> None:
        bias = zeros() if config.has_bias else False
        super().__init__(inputs, outputs, weight_attr=initial_weights(config, inputs), bias_attr=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None and recording(x):
            return LinearOnCpu.apply(x, self.weight, self.bias, False)
        if is_rounding():
            y = matmul(x, self.weight)
            return y if self.bias is None else y + self.bias
        return F.linear(x, self.weight, self.bias)


def linear_of_rows(x: Tensor, weight_FK: Tensor, bias_F: Tensor) -> Tensor:
    """Return x @ weight_FKᵀ + bias_F: a linear layer whose weights are the rows of a table, as of tied embeddings."""
    if recording(x):
        return LinearOnCpu.apply(x, weight_FK, bias_F, True)
    return matmul(x, weight_FK, transpose_y=True) + bias_F


class GroupedLinear(nn.Layer):
    """A linear layer whose outputs each see one of G groups of inputs: weight [G, K/G, F/G], bias [F]."""

    def __init__(self, inputs: int, outputs: int, config: ModelConfig) -> None:
        super().__init__()
        groups = config.num_groups
        self.weight = self.create_parameter(
            [groups, inputs // groups, outputs // groups], attr=initial_weights(config, inputs // groups)
        )
        self.bias = self.create_parameter([outputs], attr=zeros(), is_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x_RK = as_rows(x)
        groups, inputs, _ = self.weight.shape
        y_GRF = matmul(x_RK.reshape([-1, groups, inputs]).transpose([1, 0, 2]), self.weight)
        return y_GRF.transpose([1, 0, 2]).reshape([*x.shape[:-1], -1]) + self.bias


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last axis, initialised to scale 1 and shift 0."""

    def __init__(self, size: int, config: ModelConfig) -> None:
        super().__init__(size, epsilon=config.layer_norm_eps)
        self._size, self._eps = size, config.layer_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        if recording(x):
            return LayerNormOnCpu.apply(x, self.weight, self.bias, self._eps)
        return F.layer_norm(x, [self._size], self.weight, self.bias, self._eps)


class RMSNorm(nn.Layer):
    """x / sqrt(mean(x²) + ε) over the last axis, without parameters."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._eps = config.layer_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        # Means and their spreading over columns are products: paddle's reductions and broadcasts are slow on CPU.
        size = x.shape[-1]
        means = paddle.matmul(x * x, paddle.full([size, 1], 1 / size, dtype=x.dtype))
        return x * paddle.matmul(paddle.rsqrt(means + self._eps), paddle.ones([1, size], dtype=x.dtype))


def embedding(rows: int, config: ModelConfig) -> nn.Embedding:
    """Return a table of `rows` embeddings, [rows, E]."""
    return nn.Embedding(rows, config.embedding_size, weight_attr=initial_weights(config, config.embedding_size))


def gelu(x: Tensor) -> Tensor:
    """Return x · Φ(x), exactly (by erf)."""
    return GeluOnCpu.apply(x) if recording(x) else F.gelu(x)


def dropout(x: Tensor, rate: float, *, training: bool) -> Tensor:
    """Zero each element with probability `rate` (on CPU: to the nearest 1/65536) and scale the others up, when training.

    What is dropped follows from paddle's generator alone, so `paddle.seed` fixes it.
    """
    if not training or rate == 0:
        return x
    if not own_kernels(x):
        return F.dropout(x, rate, training=True)
    count = math.prod(x.shape)
    key = paddle.randint(0, 2**31 - 1, [4], dtype="int32").numpy()
    bits = np.random.SFC64(key.astype(np.uint32)).random_raw((count + 3) // 4).view(np.uint16)[:count]
    threshold = round(rate * 65536)
    kept = np.empty(count, np.float64 if x.dtype == paddle.float64 else np.float32)
    factor = kept.dtype.type(65536 / (65536 - threshold))
    for part in blocks(kept):
        np.multiply(bits[part] >= threshold, factor, out=kept[part], dtype=kept.dtype)
    return x * tensor_of(kept, x)
