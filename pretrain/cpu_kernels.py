"""Kernels for training on CPU, where paddle's own for broadcasts, their gradients and exponentials take several times longer.

None of them changes what is computed. `own_kernels` is the one switch; everywhere else plain paddle operators run.

Where the time goes and what else was tried: docs/adr/0012-cpu-kernels.md.

Legend: R rows, D features, K inputs and F outputs of a linear layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer
from paddle.utils import dlpack

from pretrain.emulate import is_rounding

_BLOCK_BYTES = 128 << 10  # of an array: a chain of operators over several such blocks stays in a core's cache


def own_kernels(x: Tensor) -> bool:
    """Return whether the project's own kernels serve `x`: on CPU, in dynamic mode."""
    return bool(paddle.in_dynamic_mode()) and x.place.is_cpu_place()


def recording(x: Tensor) -> bool:
    """Return whether the own backward passes are to be recorded for `x`: not while half precision is emulated."""
    return own_kernels(x) and bool(paddle.is_grad_enabled()) and not is_rounding()


def as_rows(x: Tensor) -> Tensor:
    """Return x with all axes but the last one folded into rows, x_RD."""
    return x if x.ndim == 2 else x.reshape([-1, x.shape[-1]])


def array_of(x: Tensor) -> npt.NDArray[Any]:
    """Return a tensor on CPU as a flat read-only array, which shares its memory if its elements stand in order."""
    array: npt.NDArray[Any] = np.from_dlpack(x.detach().contiguous())
    return array.reshape(-1)


def tensor_of(array: npt.NDArray[Any], like: Tensor) -> Tensor:
    """Return an array as a tensor that shares its memory, in the shape of another."""
    return dlpack.from_dlpack(array.reshape(like.shape))


def blocks(array: npt.NDArray[Any]) -> list[slice]:
    """Return slices of a flat array that fit a core's cache several times."""
    step = _BLOCK_BYTES // array.itemsize
    return [slice(at, at + step) for at in range(0, array.size, step)]


def _column_sums(x_RF: Tensor) -> Tensor:
    # A product with ones runs at memory speed on all cores; paddle's sum over the first axis takes 15 times longer.
    return paddle.matmul(paddle.ones([1, x_RF.shape[0]], dtype=x_RF.dtype), x_RF).reshape([-1])


def _down_rows(row_F: Tensor, count: int) -> Tensor:
    # Spread before adding or multiplying: paddle's broadcast operators take several times longer than this product.
    return paddle.matmul(paddle.ones([count, 1], dtype=row_F.dtype), row_F.reshape([1, -1]))


class LinearOnCpu(PyLayer):  # x_K @ w_KF + b_F, or x_K @ w_FKᵀ + b_F; the gradient of b by `_column_sums`
    @staticmethod
    def forward(ctx, x, weight, bias_F, transposed):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.bias_is_frozen, ctx.transposed = bias_F.stop_gradient, transposed
        x_RK = as_rows(x)
        if transposed:
            y_RF = paddle.matmul(x_RK, weight, transpose_y=True).add_(_down_rows(bias_F, x_RK.shape[0]))
        else:
            # The product adds itself to the bias, which spares a pass over the result.
            y_RF = _down_rows(bias_F, x_RK.shape[0]).addmm_(x_RK, weight)
        return y_RF if x.ndim == 2 else y_RF.reshape([*x.shape[:-1], -1])

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensor()
        x_RK, gradient_RF = as_rows(x), as_rows(gradient)
        d_x = d_weight = None
        if not x.stop_gradient:
            d_x = paddle.matmul(gradient_RF, weight, transpose_y=not ctx.transposed).reshape(x.shape)
        if not weight.stop_gradient:
            rows = (gradient_RF, x_RK) if ctx.transposed else (x_RK, gradient_RF)
            d_weight = paddle.matmul(*rows, transpose_x=True)
        return d_x, d_weight, None if ctx.bias_is_frozen else _column_sums(gradient_RF)


class LayerNormOnCpu(PyLayer):  # means, and their spreading over columns, by products with ones: see `_column_sums`
    @staticmethod
    def forward(ctx, x, scale_D, shift_D, epsilon):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, scale_D)
        ctx.epsilon, ctx.shift_is_frozen = epsilon, shift_D.stop_gradient
        return F.layer_norm(x, x.shape[-1:], scale_D, shift_D, epsilon)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, scale_D = ctx.saved_tensor()
        x_RD, gradient_RD = as_rows(x), as_rows(gradient)
        rows, size = x_RD.shape
        average_D1 = paddle.full([size, 1], 1 / size, dtype=x.dtype)
        ones_1D = paddle.ones([1, size], dtype=x.dtype)
        # A product of a column and a row, added where it is needed, stands for every spreading over columns.
        normal_RD = paddle.addmm(x_RD, paddle.matmul(x_RD, average_D1), ones_1D, alpha=-1.0)
        variance_R1 = paddle.matmul(normal_RD * normal_RD, average_D1)
        inverse_sd_RD = paddle.matmul(paddle.rsqrt(variance_R1 + ctx.epsilon), ones_1D)
        normal_RD.multiply_(inverse_sd_RD)
        along_RD = gradient_RD * normal_RD
        d_scale = None if scale_D.stop_gradient else _column_sums(along_RD)
        d_shift = None if ctx.shift_is_frozen else _column_sums(gradient_RD)
        if x.stop_gradient:
            return None, d_scale, d_shift
        mean_scale_D1 = scale_D.reshape([-1, 1]) * (1 / size)
        mean_along_R1 = paddle.matmul(along_RD, mean_scale_D1)
        d_x = gradient_RD * _down_rows(scale_D, rows)
        d_x.subtract_(normal_RD.multiply_(paddle.matmul(mean_along_R1, ones_1D)))
        d_x.addmm_(paddle.matmul(gradient_RD, mean_scale_D1), ones_1D, alpha=-1.0)
        d_x.multiply_(inverse_sd_RD)
        return d_x.reshape(x.shape), d_scale, d_shift


class GeluOnCpu(PyLayer):  # x · Φ(x), whose derivative is Φ(x) + x · φ(x); Φ is kept
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        cumulative = paddle.erf(x * math.sqrt(0.5)).scale_(0.5, 0.5)
        ctx.save_for_backward(x, cumulative)
        return x * cumulative

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, cumulative, g = (array_of(t) for t in (*ctx.saved_tensor(), gradient))
        result = np.empty_like(x)
        for part in blocks(x):
            y = result[part]
            np.multiply(x[part], x[part], out=y)
            y *= -0.5
            np.exp(y, out=y)
            y *= x[part]
            y *= 1 / math.sqrt(2 * math.pi)
            y += cumulative[part]
            y *= g[part]
        return tensor_of(result, gradient)


class PlacesOnCpu(PyLayer):  # the K places of windows over a padded sequence: paddle's gradient of a slice is slow
    @staticmethod
    def forward(ctx, padded, width):  # type: ignore[no-untyped-def]
        ctx.width = width
        length = padded.shape[1] - width + 1
        return tuple(padded[:, k : k + length].contiguous() for k in range(width))

    @staticmethod
    def backward(ctx, *gradients):  # type: ignore[no-untyped-def]
        last = ctx.width - 1
        return paddle.add_n([F.pad(g, [k, last - k], data_format="NLC") for k, g in enumerate(gradients)])
