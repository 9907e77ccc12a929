"""The post-norm transformer block that all networks share: x = Norm(x + Drop(Attn(x))); x = Norm(x + Drop(FFN(x))).

The last block's row-wise half (output projection, feed-forward, norms) runs only for the rows asked for. A masked language
model asks for 15 % of them.

Legend: B rows of the batch, L padded length, D hidden size, R selected rows, numbered b·L + l.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import Tensor, nn

from pretrain.attention import select_rows
from pretrain.config import ModelConfig
from pretrain.errors import ModelError
from pretrain.layers import dropout


class Block(nn.Layer):
    """One block: x_BLD → x_BLD, or x_RD for selected rows.

    attention takes (x_BLD, shared, rows_R) and returns y_BLD, or y_RD. `shared` is what the attention layers of one forward
    pass have in common; blocks hand it on unseen.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        attention: nn.Layer,
        inner: nn.Layer,
        outer: nn.Layer,
        norm: Callable[[], nn.Layer],
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.self_attn = attention
        self.linear1, self.linear2 = inner, outer
        self.norm1, self.norm2 = norm(), norm()
        self._activation, self._dropout = activation, config.dropout

    def forward(self, x_BLD: Tensor, shared: Any, rows_R: Tensor | None) -> Tensor:
        attended = self.self_attn(x_BLD, shared, rows_R)
        x = x_BLD if rows_R is None else select_rows(x_BLD, rows_R)
        x = self.norm1(x + dropout(attended, self._dropout, training=self.training))
        fed = self.linear2(self._activation(self.linear1(x)))
        return self.norm2(x + dropout(fed, self._dropout, training=self.training))


class Blocks(nn.Layer):
    """The stack of blocks. Not a `paddle.nn.TransformerEncoder`: paddlenlp replaces the methods of that class on import."""

    def __init__(self, config: ModelConfig, block: Callable[[ModelConfig], Block]) -> None:
        super().__init__()
        self.layers = nn.LayerList([block(config) for _ in range(config.num_layers)])

    def forward(self, x_BLD: Tensor, shared: Any, rows_R: Tensor | None) -> Tensor:
        for block in self.layers[:-1]:
            x_BLD = block(x_BLD, shared, None)
        return self.layers[-1](x_BLD, shared, rows_R)


def require_length(config: ModelConfig, length: int) -> None:
    """Raise ModelError for rows longer than the model takes; a static graph does not know yet how long they will be."""
    if isinstance(length, int) and length > config.max_positions:
        raise ModelError("rows are longer than the model takes", expected=f"at most {config.max_positions} tokens", got=length)
