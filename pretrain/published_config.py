"""``config.json`` of transformers and of PaddleNLP: read strictly into a `ModelConfig`, and written so that their classes load.

Every key of a file must be known: one that changes the network is translated, one that would change its arithmetic must have the
value that these networks have, and those that change neither are passed over. Anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pretrain.config import ModelConfig
from pretrain.errors import ModelError
from shards.canonical import read_json_object

if TYPE_CHECKING:
    from shards.manifest import SpecialIds

HF, PADDLENLP = "hf", "paddlenlp"
FAMILIES: Final = (HF, PADDLENLP)
CONFIG = "config.json"

# model_type of each family → our architecture
_TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    HF: {"roformer": "roformer", "bert": "bert", "roberta": "roberta", "convbert": "convbert"},
    PADDLENLP: {
        "roformer": "roformer", "roformerv2": "roformer_v2", "bert": "bert", "roberta": "roberta", "convbert": "convbert",
    },
}  # fmt: skip
_COMMON: Final = {
    "vocab_size": "vocab_size", "hidden_size": "hidden_size", "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads", "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_positions", "type_vocab_size": "type_vocab_size",
    "hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "attention_dropout", "pad_token_id": "pad_id",
}  # fmt: skip
_NEEDED: Final = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
)  # fmt: skip
_CONVOLUTION: Final = {name: name for name in ("embedding_size", "head_ratio", "conv_kernel_size", "num_groups")}
_OF_ARCHITECTURE: Final[Mapping[str, Mapping[str, str]]] = {
    "roformer": {"embedding_size": "embedding_size", "rotary_value": "rotary_value"},
    "roformer_v2": {"rotary_value": "rotary_value"},
    "bert": {},
    "roberta": {},
    "convbert": _CONVOLUTION,
}
# Keys of which these networks know one value only.
_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "position_embedding_type": ("absolute", None), "is_decoder": (False,), "add_cross_attention": (False,),
    "is_encoder_decoder": (False,), "tie_word_embeddings": (True,), "use_bias": (False,), "normalize_before": (False,),
    "act_dropout": (0, 0.0), "fuse": (False,), "chunk_size_feed_forward": (0,), "pruned_heads": ({},),
    "quantization_config": (None,),
}  # fmt: skip
_MEANINGLESS: Final = frozenset({
    "architectures", "model_type", "transformers_version", "paddlenlp_version", "torch_dtype", "dtype", "use_cache",
    "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id", "unk_token_id", "gradient_checkpointing",
    "classifier_dropout",
    "id2label", "label2id", "num_labels", "problem_type", "_name_or_path", "name_or_path", "output_past", "directionality",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", "summary_type",
    "summary_use_proj", "summary_activation", "summary_last_dropout", "num_choices", "tokenizer_class", "finetuning_task",
    "return_dict", "output_hidden_states", "output_attentions", "attn_implementation", "_attn_implementation", "language",
})  # fmt: skip
# Defaults of the classes, for files that leave a key out.
_DEFAULT_PAD: Final[Mapping[str, Mapping[str, int]]] = {HF: {"roberta": 1, "convbert": 1}, PADDLENLP: {}}
_DEFAULT_TYPES: Final[Mapping[str, Mapping[str, int]]] = {HF: {}, PADDLENLP: {"bert": 16, "roberta": 16}}


def read_config(folder: Path, family: str) -> tuple[ModelConfig, str | None]:
    """Return the network that ``config.json`` describes, and the class it names.

    A ConvBERT reads padding, as the published ones do. Raises NotFoundError, FormatError, or ModelError naming the key.
    """
    path = folder / CONFIG
    content = read_json_object(path)
    kind = content.get("model_type")
    types = _TYPES[family]
    if not isinstance(kind, str) or kind not in types:
        raise ModelError("model_type is of no network that is known here", where=path, expected=sorted(types), got=repr(kind))
    architecture = types[kind]
    known = _known_keys(architecture, PADDLENLP)  # pool_act is seen in files of either family
    if unknown := sorted(set(content) - set(known) - set(_FIXED) - _MEANINGLESS - {"hidden_act"}):
        raise ModelError(
            f"unknown key {unknown[0]!r}" + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""), where=path,
            hint="It may change what the network computes. If it does not, take it out of a copy of the file",
        )  # fmt: skip
    for key, allowed in _FIXED.items():
        if key in content and content[key] not in allowed:
            raise ModelError(f"{key} is not what this network has", where=path, expected=allowed[0], got=repr(content[key]))
    activation = "relu" if architecture == "roformer_v2" else "gelu"
    if content.get("hidden_act", activation) != activation:
        raise ModelError(
            "hidden_act is not what this network has", where=path, expected=activation, got=repr(content["hidden_act"])
        )
    if absent := [key for key in _NEEDED if content.get(key) is None]:
        raise ModelError(f"key {absent[0]!r} is missing", where=path)
    return _translated(content, known, architecture, family, path), _class_of(content, path)


def _known_keys(architecture: str, family: str) -> dict[str, str]:
    """Return key of the file → field of `ModelConfig`."""
    keys = dict(_COMMON) | dict(_OF_ARCHITECTURE[architecture])
    if architecture == "roformer_v2":
        return keys | {"epsilon": "layer_norm_eps"}
    keys |= {"layer_norm_eps": "layer_norm_eps", "initializer_range": "initializer_range"}
    return keys | {"pool_act": "pool_act"} if family == PADDLENLP else keys


def _translated(
    content: Mapping[str, Any], known: Mapping[str, str], architecture: str, family: str, path: Path
) -> ModelConfig:  # fmt: skip
    fields: dict[str, Any] = {
        "pad_id": _DEFAULT_PAD[family].get(architecture, 0), "type_vocab_size": _DEFAULT_TYPES[family].get(architecture, 2),
    }  # fmt: skip
    fields |= {known[key]: value for key, value in content.items() if key in known and value is not None}
    fields.setdefault("embedding_size", fields["hidden_size"])
    if architecture == "roberta" and isinstance(fields["max_positions"], int) and isinstance(fields["pad_id"], int):
        # The table of positions begins with those that no token has.
        fields["max_positions"] -= fields["pad_id"] + 1
    if architecture == "convbert":
        fields["conv_sees_padding"] = True
    return ModelConfig.from_json({"architecture": architecture, **fields}, where=path)


def _class_of(content: Mapping[str, Any], path: Path) -> str | None:
    named = content.get("architectures")
    if named is None or named == []:
        return None
    if not isinstance(named, list) or len(named) != 1 or not isinstance(named[0], str):
        raise ModelError("architectures must name one class", where=path, got=repr(named))
    return named[0]


def config_json(config: ModelConfig, family: str, class_name: str, special: SpecialIds, *, dtype: str) -> dict[str, Any]:
    """Return what ``config.json`` must say for `class_name` of `family` to load the network."""
    types = {ours: theirs for theirs, ours in _TYPES[family].items()}
    content = {key: getattr(config, field) for key, field in _known_keys(config.architecture, family).items()}
    content |= {
        "architectures": [class_name], "model_type": types[config.architecture], "max_position_embeddings": config.position_rows,
        "hidden_act": "relu" if config.architecture == "roformer_v2" else "gelu", "dtype": dtype,
    }  # fmt: skip
    if family == HF:
        content |= {"tie_word_embeddings": True}
    elif config.architecture == "roformer_v2":
        content |= {"use_bias": False, "normalize_before": False}
    if config.architecture == "roberta":
        content |= {"bos_token_id": special.cls, "eos_token_id": special.sep}
    return content


def types_of(family: str) -> Sequence[str]:
    """Return the architectures that a family has classes for."""
    return sorted(_TYPES[family].values())
