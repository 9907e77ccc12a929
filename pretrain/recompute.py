"""Recomputing: keep only what enters each block, and compute the block a second time when its gradient is wanted.

Memory for activations falls from that of all blocks to that of one, for about a third more arithmetic (Chen et al. 2016). The
generator is put back before the second pass, so dropout drops the same elements; gradients are the same to rounding, as
they are for another size of micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import Tensor, nn

from pretrain.blocks import Blocks
from pretrain.emulate import in_this_rounding


def recompute_blocks(network: nn.Layer) -> int:
    """Have every block of the network's encoders recomputed in training; return how many there are."""
    blocks = [block for stack in network.sublayers() if isinstance(stack, Blocks) for block in stack.layers]
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    return len(blocks)


def _recomputed(block: nn.Layer, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    from paddle.distributed.fleet.utils import recompute

    def run(*inputs: Any) -> Tensor:
        return recompute(in_this_rounding(forward), *inputs) if block.training else forward(*inputs)

    return run
