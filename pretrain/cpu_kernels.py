"""Backward passes for training on CPU, where paddle's kernels for broadcast gradients take several times longer.

None of them changes what is computed. `own_kernels` is the one switch; everywhere else plain paddle operators run.

Legend: R rows, D features, K inputs and F outputs of a linear layer.
"""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer

from pretrain.emulate import is_rounding


def own_kernels(x: Tensor) -> bool:
    """Return whether the project's own kernels serve `x`: on CPU, in dynamic mode."""
    return bool(paddle.in_dynamic_mode()) and x.place.is_cpu_place()


def recording(x: Tensor) -> bool:
    """Return whether the own backward passes are to be recorded for `x`: not while half precision is emulated."""
    return own_kernels(x) and bool(paddle.is_grad_enabled()) and not is_rounding()


def as_rows(x: Tensor) -> Tensor:
    """Return x with all axes but the last one folded into rows, x_RD."""
    return x.reshape([-1, x.shape[-1]])


def _column_sums(x_RF: Tensor) -> Tensor:
    # A product with ones runs at memory speed on all cores; paddle's sum over the first axis takes 15 times longer.
    return paddle.matmul(paddle.ones([1, x_RF.shape[0]], dtype=x_RF.dtype), x_RF).reshape([-1])


def _down_rows(row_F: Tensor, count: int) -> Tensor:
    # Spread before adding or multiplying: paddle's broadcast operators take several times longer than this product.
    return paddle.matmul(paddle.ones([count, 1], dtype=row_F.dtype), row_F.reshape([1, -1]))


class LinearOnCpu(PyLayer):  # x_K @ w_KF + b_F, the gradient of b by `_column_sums`
    @staticmethod
    def forward(ctx, x, weight_KF, bias_F):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight_KF)
        ctx.bias_is_frozen = bias_F.stop_gradient
        x_RK = as_rows(x)
        y_RF = paddle.matmul(x_RK, weight_KF).add_(_down_rows(bias_F, x_RK.shape[0]))
        return y_RF.reshape([*x.shape[:-1], -1])

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x, weight_KF = ctx.saved_tensor()
        gradient_RF = as_rows(gradient)
        d_x = None if x.stop_gradient else paddle.matmul(gradient_RF, weight_KF, transpose_y=True).reshape(x.shape)
        d_weight = None if weight_KF.stop_gradient else paddle.matmul(as_rows(x), gradient_RF, transpose_x=True)
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


class GeluOnCpu(PyLayer):  # x · Φ(x), whose derivative is Φ(x) + x · φ(x); Φ is kept
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
