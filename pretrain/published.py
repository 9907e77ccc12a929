"""Folders of transformers and PaddleNLP as models: what `--init`, `--model` and `pretrain.convert` take beside our own.

1. ``config.json`` becomes a `ModelConfig` (`pretrain.published_config`), the headers of the weights are held against its shapes
   (`pretrain.published_weights`), and the tokenizer is read: whatever does not fit is refused before paddle is loaded.
2. The arrays are read when they are asked for.
3. A folder that `pretrain.export` wrote has two files more: ``wordloom.json`` (what config.json cannot say) and the tensors that
   the published class has no place for. One from replaced token detection has its generator below ``generator/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pretrain.checkpoint import SavedModel
from pretrain.config import ModelConfig, generator_config
from pretrain.errors import ModelError, WeightsError
from pretrain.names import WeightName, weight_names
from pretrain.names_rtd import discriminator_names, generator_names
from pretrain.options import RTD
from pretrain.published_config import CONFIG, FAMILIES, HF, PADDLENLP, read_config
from pretrain.published_files import HEADS, Read, Tensors, read_shapes, read_tensors, weight_files
from pretrain.published_weights import DETECTOR, MLM, POOLER, SOP, Placement, arrays, group_of, place
from pretrain.shapes import Shapes, encoder_shapes, head_shapes, rtd_shapes
from shards.canonical import canonical_json, fingerprint, read_json_object
from shards.durable import hash_file
from shards.errors import MismatchError, NotFoundError

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

GENERATOR: Final = "generator"
NOTE: Final = "wordloom.json"
# What config.json of a published class has no key for.
OWN_FIELDS: Final = ("pool_act", "conv_sees_padding")
_BLOCK_OF: Final = {HF: re.compile(r"(^|\.)encoder\.layer\.\d"), PADDLENLP: re.compile(r"(^|\.)encoder\.layers\.\d")}
_REQUIRED: Final = {
    "MaskedLM": frozenset({MLM}), "Generator": frozenset({MLM}), "PreTraining": frozenset({MLM, SOP, POOLER}),
    "Pretraining": frozenset({MLM, SOP, POOLER}), "Discriminator": frozenset({DETECTOR}), "Model": frozenset(),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """One set of files of a published model, and where their tensors go."""

    config: ModelConfig
    files: tuple[Path, ...]
    placement: Placement

    def read(self, family: str) -> Read:
        """Return our tensors. Raises WeightsError."""
        found, where = read_tensors(self.files), self.files[0].parent
        ours = {weight.ours: name for name, weight in self.placement.kept.items()}
        tensors = arrays(self.placement, found.tensors, self.config, family, where)
        return Read(tensors=tensors, bfloat16=frozenset(name for name in tensors if ours[name] in found.bfloat16))


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model of another library, found to be whole. absent: beginnings of weights that it lacks."""

    path: Path
    family: str
    class_name: str | None
    config: ModelConfig
    tokenizer: Tokenizer
    objective: str | None
    absent: tuple[str, ...]
    parts: tuple[Part, ...]
    fingerprint: str

    def read(self) -> Read:
        """Return all weights by our names. Raises WeightsError."""
        tensors: Tensors = {}
        bfloat16: frozenset[str] = frozenset()
        for part in self.parts:
            read = part.read(self.family)
            for name in sorted(set(read.tensors) & set(tensors)):
                if read.tensors[name].tobytes() != tensors[name].tobytes():
                    raise WeightsError(f"{name} differs between encoder and generator, which share it", where=self.path)
            tensors |= read.tensors
            bfloat16 |= read.bfloat16
        return Read(tensors=tensors, bfloat16=bfloat16)

    def saved(self) -> SavedModel:
        """Return the model as every command takes it."""
        return SavedModel(
            path=self.path, name=self.path.resolve().name, step=0, config=self.config, tokenizer_folder=self.path,
            tokenizer_hash=self.tokenizer.hash, fingerprint=self.fingerprint, objective=self.objective, absent=self.absent,
            published=self,
        )  # fmt: skip


def open_published(folder: Path, family: str | None = None, *, files: tuple[Path, ...] | None = None) -> PublishedModel:
    """Check a folder of `family` (None: whichever its tensors are named by); `files` hold its weights instead.

    Raises NotFoundError, FormatError, ModelError, WeightsError, MismatchError and what the loading of tokenizers raises.
    """
    from pipeline.load_tokenizer import load_tokenizer

    if not (folder / CONFIG).is_file():
        raise NotFoundError("no model here", where=folder, expected=CONFIG)
    files = files or weight_files(folder)
    shapes = read_shapes(files)
    family = _family(shapes, family, folder)
    config, class_name = read_config(folder, family)
    note = _read_note(folder, config)
    config = note.config
    tokenizer = load_tokenizer(folder)
    config = _with_padding(config, tokenizer, folder)
    required = _required(class_name, config, folder)
    rtd = (folder / GENERATOR / CONFIG).is_file()
    if DETECTOR in required and not rtd:
        raise ModelError(
            f"{class_name} comes without its generator", where=folder, expected=f"a masked language model in {folder / GENERATOR}"
        )
    names = discriminator_names(config) if rtd else weight_names(config)
    expected = rtd_shapes(config) if rtd else encoder_shapes(config) | head_shapes(config)
    main = _part(folder, files, shapes, names, expected, config, family, required)
    heads = _heads(folder, names, main, expected, config, family)
    parts = [main, *([heads] if heads is not None else []), *(_generator(folder / GENERATOR, config, family) if rtd else [])]
    placed = {group_of(weight.ours, config) for part in parts for weight in part.placement.kept.values()}
    absent = frozenset(group_of(weight.ours, config) for weight in names) - placed
    if rtd and absent:
        raise WeightsError("the discriminator's head is missing", where=folder, expected=f"{DETECTOR} in {HEADS}")
    return PublishedModel(
        path=folder, family=family, class_name=class_name, config=config, tokenizer=tokenizer,
        objective=RTD if rtd else note.objective or (None if MLM in absent else "mlm"),
        absent=() if rtd else _beginnings(absent, config), parts=tuple(parts), fingerprint=_fingerprint(parts, folder, tokenizer),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Note:
    config: ModelConfig
    objective: str | None


def _read_note(folder: Path, config: ModelConfig) -> _Note:
    """Add what `pretrain.export` wrote beside config.json. Raises ModelError when the two describe different networks."""
    if not (folder / NOTE).is_file():
        return _Note(config=config, objective=None)
    content = read_json_object(folder / NOTE)
    described, objective = content.get("config"), content.get("objective")
    if not isinstance(described, dict) or not (objective is None or isinstance(objective, str)):
        raise ModelError("does not describe a network", where=folder / NOTE)
    own = ModelConfig.from_json(described, where=folder / NOTE)
    same = (
        replace(config, **{name: getattr(own, name) for name in OWN_FIELDS})
        if own.architecture == config.architecture
        else config
    )
    if _shown(same) != _shown(own):
        raise ModelError(
            f"describes another network than {CONFIG}", where=folder / NOTE, hint=f"Remove {NOTE} if you changed {CONFIG}"
        )
    return _Note(config=own, objective=objective)


def _shown(config: ModelConfig) -> bytes:
    # RoFormerV2's initial weights follow from its size, so its config.json has no word for them.
    return canonical_json({**config.to_json(), "initializer_range": None} if not config.has_bias else config.to_json())


def _family(shapes: Shapes, asked: str | None, folder: Path) -> str:
    named = [family for family in FAMILIES if any(_BLOCK_OF[family].search(name) for name in shapes)]
    if len(named) != 1:
        raise WeightsError(
            "the tensors are not named as a model's of transformers or PaddleNLP", where=folder,
            expected="encoder.layer.0… or encoder.layers.0…", got=", ".join(sorted(shapes)[:3]) or "no tensor",
        )  # fmt: skip
    if asked is not None and asked != named[0]:
        raise WeightsError(f"the tensors are named as those of {named[0]}", where=folder, hint=f"Give --from {named[0]}")
    return named[0]


def _with_padding(config: ModelConfig, tokenizer: Tokenizer, folder: Path) -> ModelConfig:
    if tokenizer.vocab_size > config.vocab_size:
        raise MismatchError(
            "the tokenizer has more tokens than the network", where=folder, expected=f"at most {config.vocab_size:,}",
            got=f"{tokenizer.vocab_size:,}",
        )  # fmt: skip
    pad = tokenizer.special_ids.pad
    if config.architecture == "roberta" and config.pad_id != pad:
        raise MismatchError(
            "pad_token_id is not the tokenizer's, and positions are counted from it", where=folder / CONFIG, expected=pad,
            got=config.pad_id,
        )  # fmt: skip
    # Elsewhere it decides nothing: transformers' ConvBERT says 1 by default, whatever its vocabulary.
    return replace(config, pad_id=pad)


def _required(class_name: str | None, config: ModelConfig, folder: Path) -> frozenset[str]:
    if class_name is None:
        return frozenset()
    kind = class_name.rpartition("For")[2] if "For" in class_name.removeprefix("RoFormer") else class_name
    ending = next((ending for ending in _REQUIRED if kind.endswith(ending)), None)
    if ending is None:
        raise ModelError(
            f"{class_name} is no class of pretraining", where=folder / CONFIG, expected="an encoder or a masked language model",
            hint="Heads of fine-tuning are not converted: take the model it was fine-tuned from",
        )  # fmt: skip
    # RoFormerV2's decoder is the embeddings alone: there is no tensor to require.
    return _REQUIRED[ending] - (frozenset() if config.has_bias else frozenset({MLM, POOLER}))


def _part(
    folder: Path, files: tuple[Path, ...], shapes: Shapes, names: tuple[WeightName, ...], expected: Shapes, config: ModelConfig,
    family: str, required: frozenset[str],
) -> Part:  # fmt: skip
    placement = place(shapes, names, expected, config, family, required=required, where=folder)
    return Part(config=config, files=files, placement=placement)


def _heads(
    folder: Path, names: tuple[WeightName, ...], main: Part, expected: Shapes, config: ModelConfig, family: str
) -> Part | None:  # fmt: skip
    """Return the part of tensors that the published class has no place for: they have our names."""
    if not (folder / HEADS).is_file():
        return None
    placed = {weight.ours for weight in main.placement.kept.values()}
    own = [replace(w, transformers=w.ours, paddlenlp=w.ours) for w in names if w.ours not in placed]
    shapes = read_shapes([folder / HEADS])
    listed = tuple(w for w in own if w.ours in shapes or any(w.ours.rpartition(".")[0] == n.rpartition(".")[0] for n in shapes))
    return _part(folder / HEADS, (folder / HEADS,), shapes, listed, expected, config, family, frozenset())


def _generator(folder: Path, config: ModelConfig, family: str) -> list[Part]:
    """Return the generator's part. Raises MismatchError for one that is not as small as we make it."""
    small, class_name = read_config(folder, family)
    wanted = generator_config(config)
    sizes = ("architecture", "vocab_size", "embedding_size", "hidden_size", "num_layers", "num_heads", "intermediate_size")
    for name in (*sizes, "max_positions", "type_vocab_size", "num_groups", "head_ratio", "conv_kernel_size", "rotary_value"):
        if getattr(small, name) != getattr(wanted, name):
            raise MismatchError(
                f"the generator's {name} is not what this encoder is trained with", where=folder, expected=getattr(wanted, name),
                got=getattr(small, name), hint=f"To take the encoder alone, remove {folder}",
            )  # fmt: skip
    files = weight_files(folder)
    required = _required(class_name, wanted, folder) | {MLM}
    return [_part(folder, files, read_shapes(files), generator_names(config), rtd_shapes(config), wanted, family, required)]


def _beginnings(absent: frozenset[str], config: ModelConfig) -> tuple[str, ...]:
    of_group = {MLM: "cls.predictions.", SOP: "cls.seq_relationship.", POOLER: f"{config.prefix}.pooler."}
    return tuple(beginning for group, beginning in of_group.items() if group in absent)


def _fingerprint(parts: list[Part], folder: Path, tokenizer: Tokenizer) -> str:
    files = [folder / CONFIG, *(file for part in parts for file in part.files)]
    files += [path for path in (folder / NOTE, folder / GENERATOR / CONFIG) if path.is_file()]
    record: dict[str, Any] = {str(number): hash_file(file).sha256 for number, file in enumerate(files)}
    return fingerprint({"files": record, "tokenizer": tokenizer.hash})
