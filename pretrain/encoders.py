"""One registry of encoders: which network an architecture is.

All are called alike: encoder(input_ids_BL, token_type_ids_BL, lengths_B, rows_R=None) → hidden_BLD or hidden_RD, see
`pretrain.roformer.RoFormer.forward`; and all have `embeddings.word_embeddings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from paddle import nn

from pretrain.bert import Bert
from pretrain.config import ModelConfig
from pretrain.convbert import ConvBert
from pretrain.roformer import RoFormer
from pretrain.roformer_v2 import RoFormerV2

_ENCODERS: Final[Mapping[str, type[nn.Layer]]] = {
    "roformer": RoFormer,
    "roformer_v2": RoFormerV2,
    "bert": Bert,
    "roberta": Bert,
    "convbert": ConvBert,
}


def build_encoder(config: ModelConfig) -> nn.Layer:
    """Return a freshly initialised encoder; `paddle.seed` before the call fixes its weights."""
    return _ENCODERS[config.architecture](config)
