"""The networks that have names: ``pretrain.run --model NAME``. Sizes are as published; roformer-tiny is this project's own.

The vocabulary is never part of a name: it comes from the data set. So `roformer-base` and `roformer-char-base` differ only in the
lengths that their published weights were trained for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pretrain.config import ModelConfig
from shards.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class NamedSize:
    """A network size without its vocabulary. embedding_size None: as wide as the hidden states."""

    architecture: str
    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 512
    embedding_size: int | None = None
    num_groups: int = 1


def _tiny(architecture: str) -> NamedSize:
    return NamedSize(architecture=architecture, num_layers=4, hidden_size=256, num_heads=4, intermediate_size=1024)


def _small(architecture: str) -> NamedSize:
    return NamedSize(architecture=architecture, num_layers=6, hidden_size=384, num_heads=6, intermediate_size=1536)


def _base(architecture: str, *, max_positions: int = 512) -> NamedSize:
    return NamedSize(
        architecture=architecture,
        num_layers=12,
        hidden_size=768,
        num_heads=12,
        intermediate_size=3072,
        max_positions=max_positions,
    )


def _large(architecture: str) -> NamedSize:
    return NamedSize(architecture=architecture, num_layers=24, hidden_size=1024, num_heads=16, intermediate_size=4096)


MODELS: Final[Mapping[str, NamedSize]] = {
    "roformer-tiny": _tiny("roformer"),
    "roformer-small": _small("roformer"),
    "roformer-base": _base("roformer", max_positions=1536),
    "roformer-char-base": _base("roformer"),
    "roformer-v2-small": _small("roformer_v2"),
    "roformer-v2-base": _base("roformer_v2"),
    "roformer-v2-large": _large("roformer_v2"),
    "bert-base": _base("bert"),
    "roberta-base": _base("roberta"),
    "roberta-large": _large("roberta"),
    "convbert-small": NamedSize(
        architecture="convbert", num_layers=12, hidden_size=256, num_heads=4, intermediate_size=1024, embedding_size=128
    ),
    "convbert-medium-small": NamedSize(
        architecture="convbert",
        num_layers=12,
        hidden_size=384,
        num_heads=8,
        intermediate_size=1536,
        embedding_size=128,
        num_groups=2,
    ),
    "convbert-base": _base("convbert"),
}

_TYPES: Final[Mapping[str, int]] = {"roberta": 1}
_EPSILONS: Final[Mapping[str, float]] = {"roberta": 1e-5}


def model_config(name: str, vocab_size: int, *, pad_id: int = 0, dropout: float = 0.1) -> ModelConfig:
    """Return the config of a named size over a vocabulary. `dropout` serves both rates. Raises UsageError for an unknown name."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    size = MODELS[name]
    return ModelConfig(
        architecture=size.architecture,
        vocab_size=vocab_size,
        hidden_size=size.hidden_size,
        embedding_size=size.embedding_size or size.hidden_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        intermediate_size=size.intermediate_size,
        max_positions=size.max_positions,
        type_vocab_size=_TYPES.get(size.architecture, 2),
        pad_id=pad_id,
        dropout=dropout,
        attention_dropout=dropout,
        layer_norm_eps=_EPSILONS.get(size.architecture, 1e-12),
        num_groups=size.num_groups,
    )
