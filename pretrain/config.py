"""The size of a network, and the sizes that have names. Nothing here imports paddle.

The vocabulary is never part of a named size: it comes from the data set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pretrain.errors import ModelError
from shards.errors import unknown_name

ARCHITECTURES: Final = ("roformer",)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that fixes a network's shape and arithmetic. Raises ModelError, naming the field, for values that make no network.

    `embedding_size` may differ from `hidden_size`: a projection then follows the embeddings. `max_positions` counts tokens
    including the special ones. `dropout` acts on embeddings and on the output of each sub-layer, `attention_dropout` on the
    attention probabilities. `rotary_value` rotates values as well as queries and keys.
    """

    architecture: str = "roformer"
    vocab_size: int
    hidden_size: int
    embedding_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int = 2
    dropout: float = 0.1
    attention_dropout: float = 0.1
    rotary_value: bool = False
    pad_id: int = 0
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise unknown_name("architecture", str(self.architecture), ARCHITECTURES)
        for name in (
            "vocab_size", "hidden_size", "embedding_size", "num_layers", "num_heads", "intermediate_size", "max_positions",
            "type_vocab_size",
        ):  # fmt: skip
            self._require(name, "a positive whole number", int, lambda value: value > 0)
        for name in ("dropout", "attention_dropout"):
            self._require(name, "a number from 0 to below 1", (int, float), lambda value: 0 <= value < 1)
        for name in ("layer_norm_eps", "initializer_range"):
            self._require(name, "a positive number below 1", (int, float), lambda value: 0 < value < 1)
        self._require("pad_id", f"an id below vocab_size {self.vocab_size}", int, lambda value: 0 <= value < self.vocab_size)
        if not isinstance(self.rotary_value, bool):
            raise ModelError("rotary_value is wrong", expected="true or false", got=repr(self.rotary_value))
        if self.hidden_size % self.num_heads:
            raise ModelError(f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}")
        if self.head_size % 2:
            raise ModelError(
                f"hidden_size {self.hidden_size} over num_heads {self.num_heads} gives heads of odd size {self.head_size}",
                hint="Rotary position embedding turns pairs of features: choose an even head size",
            )

    def _require(self, name: str, expected: str, kind: Any, holds: Any) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or isinstance(value, bool) or not holds(value):
            raise ModelError(f"{name} is wrong", expected=expected, got=repr(value))

    @property
    def head_size(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_heads

    def to_json(self) -> dict[str, Any]:
        """Return every field as a JSON value."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: object = None) -> ModelConfig:
        """Return the config that `to_json` gave. Raises ModelError for unknown and missing fields and for unusable values."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(set(value) - set(fields)):
            raise ModelError(f"unknown field {unknown[0]!r} of a network", where=where, expected=sorted(fields))
        if absent := sorted(n for n, f in fields.items() if n not in value and f.default is dataclasses.MISSING):
            raise ModelError(f"field {absent[0]!r} of a network is missing", where=where)
        try:
            return cls(**value)
        except ModelError as error:
            raise ModelError(error.what, where=where, expected=error.expected, got=error.got, hint=error.hint) from None


@dataclass(frozen=True, kw_only=True)
class NamedSize:
    """A network size without its vocabulary."""

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int


# Small and base are the published Chinese sizes; tiny is this project's own.
MODELS: Final[Mapping[str, NamedSize]] = {
    "roformer-tiny": NamedSize(num_layers=4, hidden_size=256, num_heads=4, intermediate_size=1024, max_positions=512),
    "roformer-small": NamedSize(num_layers=6, hidden_size=384, num_heads=6, intermediate_size=1536, max_positions=512),
    "roformer-base": NamedSize(num_layers=12, hidden_size=768, num_heads=12, intermediate_size=3072, max_positions=1536),
}


def model_config(name: str, vocab_size: int, *, pad_id: int = 0, dropout: float = 0.1) -> ModelConfig:
    """Return the config of a named size over a vocabulary. `dropout` serves both rates. Raises UsageError for an unknown name."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    size = MODELS[name]
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=size.hidden_size,
        embedding_size=size.hidden_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        intermediate_size=size.intermediate_size,
        max_positions=size.max_positions,
        pad_id=pad_id,
        dropout=dropout,
        attention_dropout=dropout,
    )
