"""What fixes a network's shape and arithmetic. Nothing here imports paddle. Sizes that have names: `pretrain.models`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pretrain.errors import ModelError
from shards.errors import unknown_name

ARCHITECTURES: Final = ("roformer", "roformer_v2", "bert", "roberta", "convbert")
POOL_ACTIVATIONS: Final = ("tanh", "linear", "gelu")
# Fields that mean something to some architectures only; elsewhere they keep their defaults and are not written.
_FIELDS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "rotary_value": ("roformer", "roformer_v2"),
    "pool_act": ("roformer", "bert", "roberta", "convbert"),
    "head_ratio": ("convbert",),
    "conv_kernel_size": ("convbert",),
    "num_groups": ("convbert",),
    "conv_sees_padding": ("convbert",),
}
_WIDTHS_DIFFER: Final = ("roformer", "convbert")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """All that fixes a network's shape and arithmetic. Raises ModelError, naming the field, for values that make no network.

    `embedding_size` may differ from `hidden_size`: a projection then follows the embeddings. `max_positions` counts tokens
    including the special ones. `dropout` acts on embeddings and on the output of each sub-layer, `attention_dropout` on the
    attention probabilities. `pool_act` is the pooler's activation. `initializer_range` is the standard deviation of initial
    weights, save for RoFormerV2, whose weights scale with its size.

    RoFormer: `rotary_value` rotates values as well as queries and keys. ConvBERT: `head_ratio` heads become one of attention and
    one of convolution over `conv_kernel_size` tokens; `num_groups` parts of the feed-forward see a part of the features each;
    `conv_sees_padding` lets convolutions read padding, whose word embedding is then not learnt, as published implementations do.
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
    pool_act: str = "tanh"
    head_ratio: int = 2
    conv_kernel_size: int = 9
    num_groups: int = 1
    conv_sees_padding: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise unknown_name("architecture", str(self.architecture), ARCHITECTURES)
        for name in (
            "vocab_size", "hidden_size", "embedding_size", "num_layers", "num_heads", "intermediate_size", "max_positions",
            "type_vocab_size", "head_ratio", "conv_kernel_size", "num_groups",
        ):  # fmt: skip
            self._require(name, "a positive whole number", int, lambda value: value > 0)
        for name in ("dropout", "attention_dropout"):
            self._require(name, "a number from 0 to below 1", (int, float), lambda value: 0 <= value < 1)
        for name in ("layer_norm_eps", "initializer_range"):
            self._require(name, "a positive number below 1", (int, float), lambda value: 0 < value < 1)
        self._require("pad_id", f"an id below vocab_size {self.vocab_size}", int, lambda value: 0 <= value < self.vocab_size)
        for name in ("rotary_value", "conv_sees_padding"):
            if not isinstance(value := getattr(self, name), bool):
                raise ModelError(f"{name} is wrong", expected="true or false", got=repr(value))
        if self.pool_act not in POOL_ACTIVATIONS:
            raise ModelError("pool_act is wrong", expected=POOL_ACTIVATIONS, got=repr(self.pool_act))
        for field in dataclasses.fields(self):
            if self.architecture not in _FIELDS_OF.get(field.name, ARCHITECTURES) and getattr(self, field.name) != field.default:
                raise ModelError(f"{field.name} {getattr(self, field.name)!r} means nothing to {self.architecture!r}")
        if self.embedding_size != self.hidden_size and self.architecture not in _WIDTHS_DIFFER:
            raise ModelError(
                f"embedding_size {self.embedding_size} differs from hidden_size {self.hidden_size}",
                hint=f"{self.architecture!r} has no projection between the two; {' and '.join(_WIDTHS_DIFFER)} have",
            )
        if self.hidden_size % self.num_heads:
            raise ModelError(f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}")
        if self.architecture in ("roformer", "roformer_v2") and self.head_size % 2:
            raise ModelError(
                f"hidden_size {self.hidden_size} over num_heads {self.num_heads} gives heads of odd size {self.head_size}",
                hint="Rotary position embedding turns pairs of features: choose an even head size",
            )
        if self.architecture == "convbert":
            self._require_convolution()

    def _require_convolution(self) -> None:
        if self.hidden_size % (2 * self.attention_heads):
            raise ModelError(f"hidden_size {self.hidden_size} is not divisible by twice {self.attention_heads} attention heads")
        if self.conv_kernel_size % 2 == 0:
            raise ModelError("conv_kernel_size is wrong", expected="an odd number", got=self.conv_kernel_size)
        for name in ("hidden_size", "intermediate_size"):
            if (size := getattr(self, name)) % self.num_groups:
                raise ModelError(f"{name} {size} is not divisible by num_groups {self.num_groups}")

    def _require(self, name: str, expected: str, kind: Any, holds: Any) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or isinstance(value, bool) or not holds(value):
            raise ModelError(f"{name} is wrong", expected=expected, got=repr(value))

    @property
    def prefix(self) -> str:
        """Where the encoder's weights stand in a model, as PaddleNLP has it: ``<prefix>.embeddings…``, ``<prefix>.encoder…``."""
        return "roformerv2" if self.architecture == "roformer_v2" else self.architecture

    @property
    def attention_heads(self) -> int:
        """Heads of attention in a block: all, but for ConvBERT, where others are of convolution."""
        return max(1, self.num_heads // self.head_ratio) if self.architecture == "convbert" else self.num_heads

    @property
    def head_size(self) -> int:
        """Features of one attention head."""
        if self.architecture == "convbert":
            return self.hidden_size // 2 // self.attention_heads
        return self.hidden_size // self.num_heads

    @property
    def has_bias(self) -> bool:
        """Whether linear layers and the tied decoder have biases."""
        return self.architecture != "roformer_v2"

    @property
    def has_pooler(self) -> bool:
        """Whether the first token passes through a layer before it stands for the row."""
        return self.architecture != "roformer_v2"

    @property
    def position_rows(self) -> int:
        """Rows of the table of absolute positions; RoBERTa's first token stands at padding id + 1."""
        return self.max_positions + (self.pad_id + 1 if self.architecture == "roberta" else 0)

    def to_json(self) -> dict[str, Any]:
        """Return as JSON values the fields that mean something to the architecture."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if self.architecture in _FIELDS_OF.get(name, ARCHITECTURES)}

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


_BASE_HIDDEN_SIZE: Final = 768


def generator_config(config: ModelConfig) -> ModelConfig:
    """Return the generator that replaced token detection trains an encoder with: 1/3 as wide as a base one, 1/4 as a smaller one.

    Raises ModelError for networks that cannot be narrower than their embeddings, which the two share.
    """
    if config.architecture not in _WIDTHS_DIFFER:
        raise ModelError(
            f"replaced token detection needs a network that projects its embeddings, and {config.architecture!r} does not",
            expected=_WIDTHS_DIFFER,
        )
    part = 3 if config.hidden_size >= _BASE_HIDDEN_SIZE else 4
    return dataclasses.replace(
        config,
        hidden_size=config.hidden_size // part,
        num_heads=max(1, config.num_heads // part),
        intermediate_size=config.intermediate_size // part,
    )
