"""Rotary position embedding (Su et al. 2021, interleaved pairs): positions as turns of the features of queries and keys.

At position m the features (x[2i], x[2i+1]) of a head turn by the angle m · 10000^(-2i/N). Rotation is two multiplications and
a small product per head, which on CPU is several times quicker than slicing pairs apart.

Legend: B rows of the batch, L padded length, D hidden size, H heads, N features of a head, P pairs of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from pretrain.attention import join_heads, positions_within, score_mask, split_heads
from pretrain.cpu_kernels import recording

_ROTARY_BASE = 10000.0


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
        return rotation(split_heads(x_BLD, rotation.swap_NN.shape[0]))

    @staticmethod
    def backward(ctx, gradient_BHNL):  # type: ignore[no-untyped-def]
        return join_heads(ctx.rotation.transposed(gradient_BHNL))


def split_and_rotate(x_BLD: Tensor, rotation: Rotation) -> Tensor:
    """Split into heads and turn them: x_BLD → x_BHNL."""
    if recording(x_BLD):
        return _SplitAndRotateOnCpu.apply(x_BLD, rotation)
    return rotation(split_heads(x_BLD, rotation.swap_NN.shape[0]))


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
    """Makes what the blocks of a forward pass share; angles are kept by length."""

    def __init__(self, num_heads: int, head_size: int) -> None:
        self._num_heads, self._head_size = num_heads, head_size
        self._angles_of: dict[int, npt.NDArray[np.float64]] = {}

    def __call__(self, x_BLD: Tensor, lengths_B: Tensor, documents_BL: Tensor | None = None) -> Attending:
        batch, length = x_BLD.shape[0], x_BLD.shape[1]
        heads, head_size = self._num_heads, self._head_size
        if length not in self._angles_of:
            self._angles_of[length] = rotary_angles(length, head_size)
        angles_NL = self._angles_of[length]
        swap = np.zeros((head_size, head_size), dtype=np.float32)
        even = np.arange(0, head_size, 2)
        swap[even, even + 1], swap[even + 1, even] = -1, 1

        def table(values_NL: npt.NDArray[np.float64]) -> Tensor:
            # Spread over rows and heads once: multiplying by a broadcast operand is ten times slower on CPU.
            if documents_BL is not None:
                places = positions_within(documents_BL).flatten()
                rows = paddle.gather(paddle.to_tensor(values_NL.T, dtype=x_BLD.dtype), places)
                table_BLN = rows.reshape([batch, length, head_size])
                return table_BLN.transpose([0, 2, 1]).unsqueeze(1).tile([1, heads, 1, 1])
            return paddle.to_tensor(values_NL, dtype=x_BLD.dtype).reshape([1, 1, head_size, length]).tile([batch, heads, 1, 1])

        def rotation(factor: float) -> Rotation:
            return Rotation(
                cos_BHNL=table(np.cos(angles_NL) * factor),
                sin_BHNL=table(np.sin(angles_NL) * factor),
                swap_NN=paddle.to_tensor(swap, dtype=x_BLD.dtype),
            )

        return Attending(
            of_queries=rotation(head_size**-0.5),
            of_keys=rotation(1.0),
            mask_BHLL=score_mask(lengths_B, length, heads, x_BLD.dtype, documents_BL),
        )
