"""Networks of every kind, small enough for loops in numpy and finite differences, with batches for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pretrain.config import ModelConfig
from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402

from pretrain.encoders import build_encoder  # noqa: E402

LENGTHS = [11, 7, 16, 1]
HIDDEN = 24
VARIANTS: dict[str, dict[str, Any]] = {
    "roformer": {"architecture": "roformer", "embedding_size": 10},
    "roformer_v2": {"architecture": "roformer_v2"},
    "bert": {"architecture": "bert"},
    "roberta": {"architecture": "roberta", "type_vocab_size": 1, "pad_id": 1, "layer_norm_eps": 1e-5},
    "convbert": {"architecture": "convbert", "embedding_size": 10, "num_heads": 4, "conv_kernel_size": 5},
    "convbert, grouped": {"architecture": "convbert", "num_heads": 4, "num_groups": 2},
}


def small(variant: str, **changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "vocab_size": 50, "hidden_size": HIDDEN, "embedding_size": HIDDEN, "num_layers": 2, "num_heads": 3, "intermediate_size": 40,
        "max_positions": 64, "dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.3,
    }  # fmt: skip
    return ModelConfig(**(settings | VARIANTS[variant] | changes))


def scattered(layer: Any, seed: int = 3) -> Any:
    """Move biases and norms away from their initial 0 and 1, which would hide mistakes."""
    random = np.random.default_rng(seed)
    for parameter in layer.parameters():
        if parameter.ndim == 1:
            value = parameter.numpy() + random.normal(0, 0.2, parameter.shape)
            parameter.set_value(value.astype(parameter.numpy().dtype))
    layer.eval()
    return layer


def make_encoder(config: ModelConfig, seed: int = 3) -> Any:
    paddle.seed(seed)
    return scattered(build_encoder(config), seed)


def batch(config: ModelConfig, lengths: list[int], seed: int = 0) -> list[Any]:
    random = np.random.default_rng(seed)
    width = max(lengths)
    ids = random.integers(2, 50, (len(lengths), width))
    types = random.integers(0, config.type_vocab_size, ids.shape)
    ids[np.arange(width)[None] >= np.array(lengths)[:, None]] = config.pad_id
    return [paddle.to_tensor(a) for a in (ids, types, np.array(lengths))]


def arrays(tensors: list[Any]) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]
