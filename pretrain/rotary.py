"""Rotary position embedding (Su et al. 2021, interleaved pairs): positions as turns of the features of queries and keys.

At position m the features (x[2i], x[2i+1]) of a head turn by the angle m · 10000^(-2i/N). Rotation is two multiplications and
a small product per head, which on CPU is several times quicker than slicing pairs apart.

Legend: B rows of the batch, L padded length, D hidden size, H heads, N features of a head, P pairs of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from pretrain.attention import join_heads, positions_within, score_mask, split_heads
from pretrain.config import ModelConfig
from pretrain.cpu_kernels import recording
from pretrain.fused_rotation import fused_rotation, serves

_ROTARY_BASE = 10000.0


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The turning of every head's features by their position: y = x · cos + (swap @ x) · sin.

    `swap` takes (x[2i], x[2i+1]) to (-x[2i+1], x[2i]). `factor` is folded into cos and sin. from_zero: the positions of all rows
    count from 0, as fused kernels take them.
    """

    cos_BHNL: Tensor
    sin_BHNL: Tensor
    swap_NN: Tensor
    factor: float = 1.0
    from_zero: bool = True

    def __call__(self, x_BHNL: Tensor) -> Tensor:
        return x_BHNL * self.cos_BHNL + paddle.matmul(self.swap_NN, x_BHNL) * self.sin_BHNL

    def transposed(self, y_BHNL: Tensor) -> Tensor:
        """Apply the transpose of the linear map, as a backward pass does."""
        return y_BHNL * self.cos_BHNL + paddle.matmul(self.swap_NN, y_BHNL * self.sin_BHNL, transpose_x=True)


class _SplitAndRotateOnCpu(PyLayer):
    @staticmethod
    def forward(ctx, x_BLD, rotation):  # type: ignore[no-untyped-def]
        ctx.rotation = rotation
        return rotation(split_heads(x_BLD, rotation.swap_NN.shape[0]))

    @staticmethod
    def backward(ctx, gradient_BHNL):  # type: ignore[no-untyped-def]
        return join_heads(ctx.rotation.transposed(gradient_BHNL))


def split_and_rotate(x_BLD: Tensor, rotation: Rotation) -> Tensor:
    """Split into heads and turn them: x_BLD → x_BHNL."""
    if recording(x_BLD):
        return _SplitAndRotateOnCpu.apply(x_BLD, rotation)
    head_size = rotation.swap_NN.shape[0]
    if rotation.from_zero and serves(x_BLD, head_size):
        return fused_rotation(x_BLD, head_size) * rotation.factor
    return rotation(split_heads(x_BLD, head_size))


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


class RotaryTables:
    """Makes what the blocks of a forward pass share. The tables of the last batch's shape are kept."""

    def __init__(self, config: ModelConfig) -> None:
        self._heads, self._head_size, self._max_positions = config.num_heads, config.head_size, config.max_positions
        self._kept: dict[tuple[Any, ...], tuple[Rotation, Rotation]] = {}

    def __call__(self, x_BLD: Tensor, lengths_B: Tensor, documents_BL: Tensor | None = None) -> Attending:
        length = x_BLD.shape[1]
        if not paddle.in_dynamic_mode():
            # Batch and length are not known while a static graph is made: tables of all positions are cut and broadcast.
            rotations = self._rotations(x_BLD.dtype, self._max_positions, lambda table_LN: _cut(table_LN, length))
        elif documents_BL is not None:
            places = positions_within(documents_BL).flatten()
            rotations = self._rotations(
                x_BLD.dtype, length, lambda table_LN: self._spread(paddle.gather(table_LN, places), x_BLD.shape), from_zero=False
            )
        else:
            key = (x_BLD.shape[0], length, x_BLD.dtype, str(x_BLD.place))
            if key not in self._kept:
                batch = x_BLD.shape[0]
                made = self._rotations(x_BLD.dtype, length, lambda table_LN: self._spread(table_LN.tile([batch, 1]), x_BLD.shape))
                self._kept = {key: made}
            rotations = self._kept[key]
        mask_BHLL = score_mask(lengths_B, length, self._heads, x_BLD.dtype, documents_BL)
        return Attending(of_queries=rotations[0], of_keys=rotations[1], mask_BHLL=mask_BHLL)

    def _spread(self, rows_RN: Tensor, shape: list[int]) -> Tensor:
        # Spread over heads once: multiplying by a broadcast operand is ten times slower on CPU.
        table_BLN = rows_RN.reshape([shape[0], shape[1], self._head_size])
        return table_BLN.transpose([0, 2, 1]).unsqueeze(1).tile([1, self._heads, 1, 1])

    def _rotations(
        self, dtype: paddle.dtype, length: int, spread: Callable[[Tensor], Tensor], *, from_zero: bool = True
    ) -> tuple[Rotation, Rotation]:
        """Return the rotations of queries and of keys; `spread` brings a table_LN to the shape of heads."""
        angles_NL = rotary_angles(length, self._head_size)
        swap = np.zeros((self._head_size, self._head_size), dtype=np.float32)
        even = np.arange(0, self._head_size, 2)
        swap[even, even + 1], swap[even + 1, even] = -1, 1
        swap_NN = paddle.to_tensor(swap, dtype=dtype)

        def rotation(factor: float) -> Rotation:
            cos, sin = (paddle.to_tensor(turn(angles_NL.T) * factor, dtype=dtype) for turn in (np.cos, np.sin))
            return Rotation(cos_BHNL=spread(cos), sin_BHNL=spread(sin), swap_NN=swap_NN, factor=factor, from_zero=from_zero)

        return rotation(self._head_size**-0.5), rotation(1.0)


def _cut(table_LN: Tensor, length: int) -> Tensor:
    return table_LN[:length].transpose([1, 0]).unsqueeze([0, 1])
