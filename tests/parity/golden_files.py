"""The golden files of parity: which tiny networks they hold, and where they are. Made by `tests.parity.torch.golden`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrain.config import ModelConfig

FOLDER = Path(__file__).parents[1] / "golden" / "parity"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One tiny network of a kind."""

    name: str
    architecture: str
    kind: str
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}-{self.kind}.safetensors"

    def config(self, pool_act: str) -> ModelConfig:
        """pool_act: what stands between the layers of transformers' sequence classifier."""
        settings: dict[str, Any] = {
            "vocab_size": 19, "hidden_size": 8, "embedding_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 12,
            "max_positions": 12, "dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.2,
        }  # fmt: skip
        if self.kind in ("sequence", "token"):
            settings["num_layers"] = 1
        pooled = {"pool_act": pool_act} if self.kind == "sequence" else {}
        return ModelConfig(architecture=self.architecture, **(settings | self.changes | pooled))


_ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_id": 1}
_CONVBERT = {"embedding_size": 6, "num_heads": 4, "conv_kernel_size": 5, "conv_sees_padding": True}
_WIDE = {"hidden_size": 16, "intermediate_size": 16, "num_layers": 1}  # enough for a generator of a quarter
_ALL = (
    ("roformer", "roformer", {"embedding_size": 6, "rotary_value": True}), ("bert", "bert", {}), ("roberta", "roberta", _ROBERTA),
    ("convbert", "convbert", _CONVBERT), ("convbert-grouped", "convbert", _CONVBERT | {"num_groups": 2, "embedding_size": 8}),
)  # fmt: skip
GOLDEN = (
    *(
        Golden(name=name, architecture=architecture, kind=kind, changes=changes)
        for name, architecture, changes in _ALL
        for kind in ("pretraining", "sequence", "token")
    ),
    Golden(name="roformer", architecture="roformer", kind="rtd", changes={"embedding_size": 6} | _WIDE),
    Golden(name="convbert", architecture="convbert", kind="rtd", changes=_CONVBERT | _WIDE),
)
