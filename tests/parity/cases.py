"""The small networks and the batches that every implementation is compared on."""

from __future__ import annotations

from typing import Any

from pretrain.compare_batch import Batch, make_batch
from pretrain.config import ModelConfig

LONG = 512


def small(architecture: str, **changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "vocab_size": 90, "hidden_size": 48, "embedding_size": 48, "num_layers": 3, "num_heads": 4, "intermediate_size": 96,
        "max_positions": LONG, "dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.1,
    }  # fmt: skip
    return ModelConfig(architecture=architecture, **(settings | changes))


CONFIGS = {
    "roformer": small("roformer"),
    "roformer-projected": small("roformer", embedding_size=32, rotary_value=True),
    "bert": small("bert"),
    "roberta": small("roberta", type_vocab_size=1, layer_norm_eps=1e-5, pad_id=1),
    "convbert": small("convbert", embedding_size=32, conv_sees_padding=True),
    "convbert-own-padding": small("convbert", embedding_size=32),
    "convbert-grouped": small("convbert", num_heads=8, num_groups=2, conv_kernel_size=5, conv_sees_padding=True),
}
V2 = small("roformer_v2")
CASES = ("no padding", "padding", "length 512", "mixed lengths")
UNPADDED = ("no padding", "length 512")


def batches(config: ModelConfig) -> dict[str, Batch]:
    """Return one batch a case: three full rows, all of them shorter than the batch is wide, a row of 512, lengths from 2 to 40."""
    made = (
        make_batch(config, [20, 20, 20], width=20),
        make_batch(config, [18, 18, 18], width=24, seed=1),
        make_batch(config, [LONG], width=LONG, seed=2),
        make_batch(config, [40, 3, 17, 29, 2], width=40, seed=3),
    )
    return dict(zip(CASES, made, strict=True))
