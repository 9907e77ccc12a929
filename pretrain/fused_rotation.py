"""Paddle's fused rotation, on a GPU, where the build's operator turns what we turn.

It has no CPU kernel, and its names do not say which pairs it turns ("neox" stands for adjacent ones here). So it is not trusted
but tried: once for each head size and type a few numbers and their gradients go through it, and unless they come out as the
definition has them (`pretrain.rotary`), plain operators serve. Trying draws no random number.

Legend: B rows of the batch, L padded length, D hidden size, H heads, N features of a head, P pairs of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle.incubate.nn import functional as incubating

from pretrain.gpu_kernels import fused

_LENGTH, _HEADS = 5, 2
_TOLERANCES = {paddle.float32: 1e-5, paddle.float64: 1e-5, paddle.float16: 5e-3, paddle.bfloat16: 4e-2}
_found: dict[tuple[int, str], bool] = {}


def fused_rotation(x_BLD: Tensor, head_size: int) -> Tensor:
    """Return x with every head's pairs turned by their position from 0 on, split into heads, y_BHNL."""
    return _rotated(x_BLD.reshape([0, 0, -1, head_size])).transpose([0, 2, 3, 1])


def serves(x_BLD: Tensor, head_size: int) -> bool:
    """Return whether `fused_rotation` turns tensors like x as the definition does."""
    if not fused(x_BLD) or x_BLD.dtype not in _TOLERANCES:
        return False
    key = head_size, str(x_BLD.dtype)
    if key not in _found:
        try:
            _found[key] = _is_ours(head_size, x_BLD.dtype)
        except (RuntimeError, NotImplementedError, ValueError, TypeError, OSError):  # no kernel for this device or type
            _found[key] = False
    return _found[key]


def _rotated(x_BLHN: Tensor) -> Tensor:
    return incubating.fused_rotary_position_embedding(x_BLHN)[0]


def _is_ours(head_size: int, dtype: paddle.dtype) -> bool:
    shape = 1, _LENGTH, _HEADS, head_size
    given, along = (np.cos(np.arange(np.prod(shape)) * speed).reshape(shape) for speed in (0.7, 1.3))
    turns_LP = np.outer(np.arange(_LENGTH), 10000.0 ** (-np.arange(0, head_size, 2) / head_size))
    with paddle.enable_grad(), paddle.amp.auto_cast(enable=False):
        x_BLHN = paddle.to_tensor(given, dtype=dtype, stop_gradient=False)
        y_BLHN = _rotated(x_BLHN)
        y_BLHN.backward(paddle.to_tensor(along, dtype=dtype))
    expected = _turned(given, turns_LP), _turned(along, -turns_LP)  # a rotation's transpose turns back
    found = (t.astype("float32").numpy() for t in (y_BLHN, x_BLHN.grad))
    return all(bool(np.abs(ours - theirs).max() <= _TOLERANCES[dtype]) for ours, theirs in zip(expected, found, strict=True))


def _turned(x_BLHN: npt.NDArray[np.float64], turns_LP: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    pairs = x_BLHN[..., 0::2] + 1j * x_BLHN[..., 1::2]
    turned = pairs * np.exp(1j * turns_LP)[None, :, None, :]
    y_BLHN: npt.NDArray[np.float64] = np.stack([turned.real, turned.imag], -1).reshape(x_BLHN.shape)
    return y_BLHN
