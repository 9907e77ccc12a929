"""A model of ours as folders that classes of transformers or PaddleNLP load unchanged.

1. The class is the fullest one whose heads the model has. Tensors without a place in it go to ``wordloom_heads.safetensors``
   beside it, by our names and in the family's layout.
2. A model of replaced token detection becomes two: the encoder as a bare one with the discriminator's head beside it, and below
   ``generator/`` the generator as a masked language model.
3. ``wordloom.json`` keeps what config.json cannot say, and where the model comes from; so the way back loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pretrain.checkpoint import SavedModel
from pretrain.config import ModelConfig, generator_config
from pretrain.errors import ModelError, WeightsError
from pretrain.names import WeightName, weight_names
from pretrain.names_rtd import discriminator_names, generator_names
from pretrain.options import RTD
from pretrain.published import GENERATOR, NOTE
from pretrain.published_config import CONFIG, HF, PADDLENLP, config_json
from pretrain.published_files import HEADS, WHOLE, rounded_to_bfloat16, safetensors_bytes
from pretrain.published_tokenizer import tokenizer_files
from pretrain.published_weights import DETECTOR, ENCODER, MLM, POOLER, SOP, copies_of, group_of, sinusoids, theirs
from shards.canonical import pretty_json

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

_FORMATS: Final = {HF: "pt", PADDLENLP: "np"}
_NOTE_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class PublishedClass:
    """A class of another library: the heads it must have, and those it has a place for."""

    name: str
    needs: frozenset[str]
    takes: frozenset[str]


def _class(name: str, *needs: str, takes: tuple[str, ...] = ()) -> PublishedClass:
    return PublishedClass(name=name, needs=frozenset(needs), takes=frozenset({ENCODER, *needs, *takes}))


_CLASSES: Final[Mapping[tuple[str, str], tuple[PublishedClass, ...]]] = {
    (HF, "roformer"): (_class("RoFormerForMaskedLM", MLM), _class("RoFormerModel")),
    (HF, "bert"): (
        _class("BertForPreTraining", MLM, SOP, POOLER), _class("BertForMaskedLM", MLM), _class("BertModel", takes=(POOLER,)),
    ),
    (HF, "roberta"): (_class("RobertaForMaskedLM", MLM), _class("RobertaModel", takes=(POOLER,))),
    (HF, "convbert"): (_class("ConvBertForMaskedLM", MLM), _class("ConvBertModel")),
    (PADDLENLP, "roformer"): (_class("RoFormerForMaskedLM", MLM, takes=(POOLER,)), _class("RoFormerModel", takes=(POOLER,))),
    (PADDLENLP, "roformer_v2"): (_class("RoFormerv2ForMaskedLM", takes=(MLM,)),),
    (PADDLENLP, "bert"): (
        _class("BertForPretraining", MLM, SOP, POOLER), _class("BertForMaskedLM", MLM, takes=(POOLER,)),
        _class("BertModel", takes=(POOLER,)),
    ),
    (PADDLENLP, "roberta"): (_class("RobertaForMaskedLM", MLM), _class("RobertaModel", takes=(POOLER,))),
    (PADDLENLP, "convbert"): (
        _class("ConvBertForMaskedLM", MLM, takes=(POOLER,)), _class("ConvBertDiscriminator", DETECTOR, takes=(POOLER,)),
        _class("ConvBertModel", takes=(POOLER,)),
    ),
}  # fmt: skip

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Files by path below the folder; `classes`: path of each model ("" or "generator/") → its class; `notes` for the user."""

    files: Mapping[str, bytes]
    classes: Mapping[str, str]
    notes: tuple[str, ...]


def exported(
    saved: SavedModel, tokenizer: Tokenizer, family: str, weights: Mapping[str, Array], bfloat16: frozenset[str]
) -> Exported:
    """Return the files of `saved` for `family`. Raises ModelError, WeightsError."""
    config = saved.config
    if (family, config.architecture) not in _CLASSES:
        raise ModelError(
            f"{family} has no class for {config.architecture!r}: transformers never took RoFormerV2 in", where=saved.path,
            hint="Give --to paddlenlp",
        )  # fmt: skip
    files: dict[str, bytes] = {}
    classes: dict[str, str] = {}
    placed: set[str] = set()
    beside: list[str] = []
    for below, part, names in _parts(saved):
        own = {w.ours: w for w in names if w.ours in weights}
        present = {group_of(name, part) for name in own}
        target = next(c for c in _CLASSES[family, config.architecture] if c.needs <= present)
        inside = {w.ours for w in own.values() if group_of(w.ours, part) in target.takes and theirs(w, family) is not None}
        body = {str(theirs(own[name], family)): _laid_out(own[name], weights[name], family) for name in inside}
        heads = {name: _laid_out(own[name], weights[name], family) for name in own if name not in inside}
        narrow = frozenset(str(theirs(own[name], family)) for name in inside & bfloat16)
        for name, (array, is_narrow) in _regenerated(part, family, own, weights, target, bfloat16).items():
            body[name] = array
            narrow |= {name} if is_narrow else set()
        if target.name.endswith("Model"):  # a bare encoder's names have no prefix
            body = {name.removeprefix(f"{part.prefix}."): array for name, array in body.items()}
            narrow = frozenset(name.removeprefix(f"{part.prefix}.") for name in narrow)
        files[f"{below}{WHOLE}"] = safetensors_bytes(body, format=_FORMATS[family], bfloat16=narrow)
        if heads:
            files[f"{below}{HEADS}"] = safetensors_bytes(heads, format=_FORMATS[family], bfloat16=bfloat16 & frozenset(heads))
            beside += sorted({name.rpartition(".")[0] for name in heads})
        dtype = "bfloat16" if narrow else str(next(iter(body.values())).dtype)
        described = config_json(part, family, target.name, tokenizer.special_ids, dtype=dtype)
        files[f"{below}{CONFIG}"] = pretty_json(described)
        files |= {f"{below}{name}": data for name, data in tokenizer_files(tokenizer, family, part.max_positions).items()}
        note = {"name": saved.name, "step": saved.step, "fingerprint": saved.fingerprint}
        objective = "mlm" if below else saved.objective
        files[f"{below}{NOTE}"] = pretty_json({"format": _NOTE_FORMAT, "config": part.to_json(), "objective": objective, **note})
        classes[below] = target.name
        placed |= set(own)
    if left := sorted(set(weights) - placed):
        raise WeightsError(
            f"{len(left)} tensors are of no pretraining head: {', '.join(left[:3])}", where=saved.path,
            hint="Export the model it was fine-tuned from",
        )  # fmt: skip
    return Exported(files=files, classes=classes, notes=tuple(_notes(config, family, beside, rtd=saved.objective == RTD)))


def _parts(saved: SavedModel) -> Iterator[tuple[str, ModelConfig, tuple[WeightName, ...]]]:
    config = saved.config
    if saved.objective != RTD:
        yield "", config, weight_names(config)
        return
    yield "", config, discriminator_names(config)
    yield f"{GENERATOR}/", replace(generator_config(config), pad_id=config.pad_id), generator_names(config)


def _laid_out(weight: WeightName, array: Array, family: str) -> Array:
    return weight.to_transformers(array) if family == HF else array


# Second names of the tied decoder that PaddleNLP's own files hold.
_COPIES_WRITTEN: Final = {
    "roformer": ("_weight",), "roformer_v2": ("_weight",), "bert": (".weight", ".bias"), "roberta": (".weight", ".bias"),
    "convbert": (),
}  # fmt: skip


def _regenerated(
    config: ModelConfig, family: str, own: Mapping[str, WeightName], weights: Mapping[str, Array], target: PublishedClass,
    bfloat16: frozenset[str],
) -> dict[str, tuple[Array, bool]]:  # fmt: skip
    """Return tensors that follow from others, where the family's own files hold them, and whether they are bfloat16."""
    if family == HF:
        if config.architecture != "roformer":
            return {}
        words = f"{config.prefix}.embeddings.word_embeddings.weight"
        narrow, table = words in bfloat16, sinusoids(config)
        table = rounded_to_bfloat16(table) if narrow else table.astype(weights[words].dtype)
        return {f"{config.prefix}.encoder.embed_positions.weight": (table, narrow)}
    copied: dict[str, tuple[Array, bool]] = {}
    if MLM in target.takes:
        endings = tuple(f"decoder{ending}" for ending in _COPIES_WRITTEN[config.architecture])
        for name, ours in copies_of(config, family).items():
            if name.endswith(endings):
                source = ours if ours in own else next(w for w in own if w.endswith(f".{ours}"))
                copied[name] = np.asarray(weights[source]), source in bfloat16
    return copied


def _notes(config: ModelConfig, family: str, beside: list[str], *, rtd: bool) -> Iterator[str]:
    if beside:
        yield f"no place in the class for {', '.join(beside)}: in {HEADS}"
    if config.architecture == "convbert" and not config.conv_sees_padding:
        yield (
            "this model's convolutions do not see padding, the published class's do: results are equal for rows without padding, "
            f"and differ near the end of padded ones. {NOTE} keeps the difference for the way back"
        )
    if family == PADDLENLP and rtd and config.architecture == "convbert":
        small = generator_config(config)
        if small.num_heads < small.head_ratio:
            yield (
                f"PaddleNLP cannot load {GENERATOR}/: with {small.num_heads} head and head_ratio {small.head_ratio} its ConvBERT "
                "has no convolution. It is there for the way back; --to hf writes one that loads"
            )
