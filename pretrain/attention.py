"""Attention over heads with the position innermost, its masks, and the choice of rows.

Heads are laid out BHNL: one plain matrix transpose leads there and one leads back, where the usual BHLN needs a four-axis one.

Legend: B rows of the batch, L padded length, D hidden size, H heads, N features of a head, R selected rows. Rows of a batch
are numbered b·L + l.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from pretrain.cpu_kernels import as_rows, own_kernels
from pretrain.emulate import matmul
from pretrain.gpu_kernels import fused, fused_attention
from pretrain.layers import dropout

_MASKED_SCORE = -1e4


def split_heads(x_BLD: Tensor, head_size: int) -> Tensor:
    """Return x_BHNL."""
    # 0 keeps a size and -1 follows from the others: in a static graph neither is known.
    return x_BLD.transpose([0, 2, 1]).reshape([0, x_BLD.shape[2] // head_size, head_size, -1])


def join_heads(x_BHNL: Tensor) -> Tensor:
    """Return x_BLD, undoing `split_heads`."""
    _, heads, head_size, _ = x_BHNL.shape
    x_BLD = x_BHNL.reshape([0, heads * head_size, -1]).transpose([0, 2, 1])
    # A transpose is only a view; a linear layer, forward and backward, would copy it into order once each.
    return x_BLD.contiguous() if own_kernels(x_BLD) else x_BLD


def attend(
    q_BHNL: Tensor, k_BHNL: Tensor, v_BHNL: Tensor, mask_BHLL: Tensor | None, drop_rate: float, *, training: bool
) -> Tensor:
    """Return softmax(q·k + mask) · v with heads joined, y_BLD. Queries come already scaled by 1/sqrt(N)."""
    if fused(q_BHNL):
        return fused_attention(q_BHNL, k_BHNL, v_BHNL, mask_BHLL, drop_rate if training else 0.0)
    scores_BHLL = matmul(q_BHNL, k_BHNL, transpose_x=True)
    if mask_BHLL is not None:
        scores_BHLL = scores_BHLL + mask_BHLL
    shares_BHLL = dropout(F.softmax(scores_BHLL, axis=-1), drop_rate, training=training)
    return join_heads(matmul(v_BHNL, shares_BHLL, transpose_y=True))


def padding_mask(lengths_B: Tensor, length: int, heads: int, dtype: paddle.dtype) -> Tensor | None:
    """Return what to add to scores so that padding is not attended to, [B, H, L, L]; None where there is none."""
    # Looking at the lengths is free on CPU; on a GPU it would stall the queue, and the mask is always added.
    if own_kernels(lengths_B) and int(lengths_B.min()) >= length:
        return None
    padding_BL = paddle.arange(length, dtype=lengths_B.dtype).unsqueeze(0) >= lengths_B.unsqueeze(1)
    mask_B11L = (padding_BL.astype(dtype) * _MASKED_SCORE).unsqueeze([1, 2])
    return mask_B11L.tile([1, heads, length, 1])


def document_mask(documents_BL: Tensor, heads: int, dtype: paddle.dtype) -> Tensor:
    """Return what to add to scores so that each token attends to its own document only, [B, H, L, L]."""
    apart_BLL = documents_BL.unsqueeze(2) != documents_BL.unsqueeze(1)
    return (apart_BLL.astype(dtype) * _MASKED_SCORE).unsqueeze(1).tile([1, heads, 1, 1])


def score_mask(
    lengths_B: Tensor, length: int, heads: int, dtype: paddle.dtype, documents_BL: Tensor | None = None
) -> Tensor | None:
    """Return what to add to scores so that neither padding nor other documents of a row are attended to; None: nothing."""
    mask_BHLL = padding_mask(lengths_B, length, heads, dtype)
    if documents_BL is None:
        return mask_BHLL
    apart_BHLL = document_mask(documents_BL, heads, dtype)
    return apart_BHLL if mask_BHLL is None else mask_BHLL + apart_BHLL


def positions_within(documents_BL: Tensor) -> Tensor:
    """Return the position of each token in its document, from 0."""
    position_BL = paddle.arange(documents_BL.shape[1], dtype="int64").unsqueeze(0).expand(documents_BL.shape)
    begins_BL = paddle.concat([paddle.ones_like(documents_BL[:, :1]), documents_BL[:, 1:] - documents_BL[:, :-1]], axis=1) != 0
    return position_BL - paddle.cummax(position_BL * begins_BL.astype("int64"), axis=1)[0]


def select_rows(x_BLD: Tensor, rows_R: Tensor) -> Tensor:
    """Return the rows numbered b·L + l of a batch, x_RD."""
    return paddle.gather(as_rows(x_BLD), rows_R)
