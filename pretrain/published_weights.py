"""Every tensor of a published checkpoint to its place among ours, or an error that names it.

1. Names are translated (`pretrain.names`); a bare encoder's have no prefix, and get it; norms may have TensorFlow's names.
2. The decoder of the masked language model is the word embeddings: a copy of them, or of its bias, under another name must be
   equal, and is dropped. The bias may stand under either of its names alone.
3. Tables that follow from the config (positions, sinusoids) are checked and dropped.
4. A head is there as a whole or not at all; which ones must be there depends on the class that config.json names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pretrain.config import ModelConfig
from pretrain.errors import WeightsError
from pretrain.names import COLUMN, TRANSPOSED, WeightName
from pretrain.published_config import HF
from pretrain.shapes import Shapes

ENCODER, MLM, POOLER, SOP, DETECTOR = "encoder", "MLM head", "pooler", "sentence order head", "discriminator head"
_NAMED_AT_MOST: Final = 5
_SINUSOID_TOLERANCE: Final = 5e-3  # files of half precision have no more

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the tensors of a checkpoint go.

    kept: their name → its three names; copies: their name → our name of what it must equal; tables: names of what follows from
    the config, as they are without prefix; absent: heads that are not there.
    """

    kept: Mapping[str, WeightName]
    copies: Mapping[str, str]
    tables: Mapping[str, str]
    absent: frozenset[str]


def group_of(ours: str, config: ModelConfig) -> str:
    """Return which part of a model a weight belongs to: the encoder or one of the heads."""
    heads = {f"{config.prefix}.pooler.": POOLER, "cls.seq_relationship.": SOP, "discriminator_predictions.": DETECTOR}
    heads |= {"cls.predictions.": MLM, "generator_predictions.": MLM}
    return next((group for beginning, group in heads.items() if ours.startswith(beginning)), ENCODER)


def theirs(weight: WeightName, family: str) -> str | None:
    return weight.transformers if family == HF else weight.paddlenlp


def shape_there(weight: WeightName, shape: tuple[int, ...], family: str) -> tuple[int, ...]:
    """Return the shape of our weight as the family has it."""
    if family != HF:
        return shape
    return shape[::-1] if weight.layout == TRANSPOSED else (*shape, 1) if weight.layout == COLUMN else shape


def copies_of(config: ModelConfig, family: str) -> dict[str, str]:
    """Return the second names that a family's files may have: theirs → our last part of the name of what they repeat."""
    words, bias = f"{config.prefix}.embeddings.word_embeddings.weight", "decoder_bias"
    of_architecture = {
        "roformer": {"cls.predictions.decoder.weight": words, "cls.predictions.decoder.bias": bias},
        "bert": {"cls.predictions.decoder.weight": words, "cls.predictions.decoder.bias": bias},
        "roberta": {"lm_head.decoder.weight": words, "lm_head.decoder.bias": bias},
        "convbert": {"generator_lm_head.weight": words},
        "roformer_v2": {},
    }[config.architecture]  # fmt: skip
    if family == HF:
        return of_architecture
    more = {
        "roformer": {"cls.predictions.decoder_weight": words}, "bert": {"cls.predictions.decoder_weight": words},
        "roformer_v2": {"cls.decoder_weight": words},
    }  # fmt: skip
    return of_architecture | more.get(config.architecture, {})


def place(
    found: Mapping[str, tuple[int, ...]], names: Iterable[WeightName], shapes: Shapes, config: ModelConfig, family: str, *,
    required: frozenset[str], where: object,
) -> Placement:  # fmt: skip
    """Return where the tensors `found` go, given by name and shape. `shapes`: of ours.

    Raises WeightsError, naming tensors that are missing, unexpected or mis-shaped.
    """
    by_name = {name: weight for weight in names if (name := theirs(weight, family)) is not None}
    prefix = f"{config.prefix}."
    bare = not any(name.startswith(prefix) for name in found)
    known = {*by_name, *_tables(config)}
    full: dict[str, str] = {}
    for name in found:
        today = _todays_name(name)
        full[prefix + today if bare and prefix + today in known else today] = name
    tables = {full[name]: name for name in full if name in _tables(config)}
    copies = _copies(config, family, by_name)
    kept = {full[name]: by_name[name] for name in full if name in by_name}
    repeated: dict[str, str] = {}
    for name in (name for name in full if name in copies):
        weight = copies[name]
        if any(k.ours == weight.ours for k in kept.values()):
            repeated[full[name]] = weight.ours
        else:
            kept[full[name]] = weight
    placed = {weight.ours for weight in kept.values()}
    missing, absent = _missing(by_name, placed, config, required)
    unexpected = sorted(name for name in found if name not in kept and name not in repeated and name not in tables)
    mis_shaped = []
    for name, weight in sorted(kept.items()):
        expected = shape_there(weight, shapes[weight.ours], family)
        if found[name] != expected:
            mis_shaped.append(f"{name} {_text(found[name])} for {_text(expected)}")
    problems = [_listed("missing", missing), _listed("unexpected", unexpected), _listed("mis-shaped", mis_shaped)]
    if any(problems):
        raise WeightsError(
            "; ".join(filter(None, problems)), where=where,
            hint="The tensors must be those of the network that config.json describes, with heads of pretraining or none",
        )  # fmt: skip
    return Placement(kept=kept, copies=repeated, tables=tables, absent=absent)


def _todays_name(name: str) -> str:
    """Return the name of a norm's weight where a file has TensorFlow's, as the oldest ones do; of any other as it is."""
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _copies(config: ModelConfig, family: str, by_name: Mapping[str, WeightName]) -> dict[str, WeightName]:
    """Return their second names → the weight repeated."""
    of_last_part = {weight.ours.rpartition(".")[2]: weight for weight in by_name.values()}
    of_name = {weight.ours: weight for weight in by_name.values()}
    found = {name: of_name.get(ours) or of_last_part.get(ours) for name, ours in copies_of(config, family).items()}
    return {name: weight for name, weight in found.items() if weight is not None}


def _missing(
    by_name: Mapping[str, WeightName], placed: set[str], config: ModelConfig, required: frozenset[str]
) -> tuple[list[str], frozenset[str]]:
    members: dict[str, list[str]] = {}
    for name, weight in by_name.items():
        members.setdefault(group_of(weight.ours, config), []).append(name)
    missing: list[str] = []
    absent: set[str] = set()
    for group, names in members.items():
        lacking = [name for name in names if by_name[name].ours not in placed]
        if len(lacking) == len(names) and group != ENCODER and group not in required:
            absent.add(group)
        else:
            missing += lacking
    return sorted(missing), frozenset(absent)


def arrays(
    placement: Placement, tensors: Mapping[str, Array], config: ModelConfig, family: str, where: object
) -> dict[str, Array]:
    """Return our weights. Raises WeightsError for copies that differ, tables that are others, and integers."""
    ours: dict[str, Array] = {}
    for name, weight in placement.kept.items():
        array = tensors[name]
        if array.dtype.kind != "f":
            raise WeightsError(f"{name} is not floating", where=where, got=array.dtype)
        ours[weight.ours] = np.ascontiguousarray(weight.from_transformers(array) if family == HF else array)
    for name, repeated in placement.copies.items():
        if not np.array_equal(tensors[name], ours[repeated], equal_nan=True):
            raise WeightsError(
                f"{name} differs from the tensor it must equal",
                where=where,
                expected=f"the values of {_their_name(placement, repeated)}",
            )
    for name, table in placement.tables.items():
        if not _is_table(table, tensors[name], config):
            raise WeightsError(f"{name} does not hold what follows from config.json", where=where)
    return ours


def _their_name(placement: Placement, ours: str) -> str:
    return next(name for name, weight in placement.kept.items() if weight.ours == ours)


def _tables(config: ModelConfig) -> tuple[str, ...]:
    names = ("embeddings.position_ids", "embeddings.token_type_ids", "encoder.embed_positions.weight")
    return tuple(f"{config.prefix}.{name}" for name in names)


def _is_table(name: str, table: Array, config: ModelConfig) -> bool:
    if name.endswith("position_ids"):
        return np.array_equal(table.reshape(-1), np.arange(table.size))
    if name.endswith("token_type_ids"):
        return not table.any()
    expected = sinusoids(config)
    return table.shape == expected.shape and bool(np.abs(table.astype(np.float32) - expected).max() <= _SINUSOID_TOLERANCE)


def sinusoids(config: ModelConfig) -> npt.NDArray[np.float32]:
    """Return RoFormer's table of positions as transformers keeps it, float32[positions, head size]: sines, then cosines."""
    size = config.head_size
    frequency = np.power(10000.0, -2 * np.arange(size // 2) / size)
    angle = np.arange(config.max_positions)[:, None] * frequency[None]
    table: npt.NDArray[np.float32] = np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
    return table


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = len(names) - _NAMED_AT_MOST
    return f"{len(names)} {what}: {', '.join(names[:_NAMED_AT_MOST])}" + (f" and {rest} more" if rest > 0 else "")
