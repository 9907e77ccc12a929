"""Half precision on CPU, where paddle has no kernels for it: numbers are rounded to it and computed with in float32.

Within `rounding(dtype)` every matrix product of the networks (linear layers, attention, the vocabulary projection) takes
operands that were rounded to float16 or bfloat16 and gives a rounded result, and so do the two products of its backward pass:
what a GPU does with float32 accumulators. Beyond 65,504 float16 is an infinity, here as there. With `between_layers` (level O2)
what layers hand to each other is rounded as well, forward and backward.

The switch belongs to the process. Own kernels for CPU are not used within it: they compute in float32 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer

_dtype: str | None = None
_between_layers = False


@contextmanager
def rounding(dtype: str, *, between_layers: bool) -> Iterator[None]:
    """Round through `dtype` (``float16`` or ``bfloat16``) inside this context."""
    global _dtype, _between_layers
    before = _dtype, _between_layers
    _dtype, _between_layers = dtype, between_layers
    try:
        yield
    finally:
        _dtype, _between_layers = before


def is_rounding() -> bool:
    return _dtype is not None


def in_this_rounding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` to be run under the rounding in force now, whenever that is: a recomputed block runs once more later."""
    if _dtype is None:
        return function
    dtype, between_layers = _dtype, _between_layers

    def run(*inputs: Any) -> Any:
        with rounding(dtype, between_layers=between_layers):
            return function(*inputs)

    return run


def matmul(x: Tensor, y: Tensor, *, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Return x @ y as `paddle.matmul` does; within `rounding`, as half precision would."""
    if _dtype is None:
        return paddle.matmul(x, y, transpose_x=transpose_x, transpose_y=transpose_y)
    return rounded(paddle.matmul(rounded(x), rounded(y), transpose_x=transpose_x, transpose_y=transpose_y))


def rounded(x: Tensor) -> Tensor:
    """Round a tensor to the half precision in force, and its gradient on the way back."""
    return _Rounded.apply(x, _dtype)


def round_between_layers(network: nn.Layer) -> None:
    """Let every layer of a network round what it returns, in contexts that ask for it."""
    for layer in network.sublayers():
        layer.register_forward_post_hook(_round_output)


def _round_output(layer: nn.Layer, inputs: Any, output: Any) -> Any:
    return rounded(output) if _between_layers and isinstance(output, Tensor) and output.is_floating_point() else output


class _Rounded(PyLayer):
    @staticmethod
    def forward(ctx, x, dtype):  # type: ignore[no-untyped-def]
        ctx.dtype = dtype
        return x.astype(dtype).astype(x.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient.astype(ctx.dtype).astype(gradient.dtype)
