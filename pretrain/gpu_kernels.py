"""The one switch to paddle's fused kernels: on a GPU they serve, unless WORDLOOM_FUSED=0; elsewhere the plain operators do.

Attention goes through `F.scaled_dot_product_attention`, which picks flash attention, the memory-efficient kernel or plain
operators by device, type and mask. Rotation: see `pretrain.fused_rotation`.

Legend: B rows of the batch, L padded length, H heads, N features of a head.
"""

from __future__ import annotations

import os

import paddle
import paddle.nn.functional as F
from paddle import Tensor


def fused(x: Tensor) -> bool:
    """Return whether fused kernels serve `x`."""
    return bool(paddle.in_dynamic_mode()) and x.place.is_gpu_place() and os.environ.get("WORDLOOM_FUSED") != "0"


def fused_attention(q_BHNL: Tensor, k_BHNL: Tensor, v_BHNL: Tensor, mask_BHLL: Tensor | None, drop_rate: float) -> Tensor:
    """Return softmax(q·k + mask) · v with heads joined, y_BLD. Queries come already scaled by 1/sqrt(N)."""
    # Not every kernel behind it takes a scale, so the queries' own is undone.
    q_BHNL = q_BHNL * q_BHNL.shape[2] ** 0.5
    q_BLHN, k_BLHN, v_BLHN = (x.transpose([0, 3, 1, 2]) for x in (q_BHNL, k_BHNL, v_BHNL))
    y_BLHN = F.scaled_dot_product_attention(q_BLHN, k_BLHN, v_BLHN, attn_mask=mask_BHLL, dropout_p=drop_rate)
    return y_BLHN.flatten(2)
