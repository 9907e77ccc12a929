"""Everything that can be known, and refused, before paddle is loaded: data, network, schedule, and where to start.

The order of the checks is the order of their cost: options, manifests, the model to start from, hashes of the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pretrain.checkpoint import (
    Checkpoint,
    SavedModel,
    find_checkpoint,
    list_checkpoints,
    newest_valid,
    resolve_model,
    set_aside,
    step_folder,
    step_of,
)  # fmt: skip
from pretrain.config import ModelConfig, generator_config
from pretrain.data_plan import make_drawing, packing_identity, require_drawn_masks
from pretrain.errors import CheckpointError, RunExistsError
from pretrain.models import model_config
from pretrain.options import DEFAULT_MODEL, RTD, TrainConfig
from pretrain.probes import probe_command
from pretrain.run_state import FINISHED, read_run
from pretrain.scaler import fresh_scaler
from pretrain.schedule import Schedule
from pretrain.sections import Section, open_sections
from pretrain.train_state import DataIdentity, TrainState, require_continues, require_coolable
from shards.batch_sizes import BatchSizes
from shards.canonical import fingerprint
from shards.collate import BatchPlan
from shards.errors import MismatchError, UsageError
from shards.manifest import TokenizerEntry
from shards.masks import MaskPolicy
from shards.reader import DataSet, Split
from shards.sampler import Drawing

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A run as it will be; `fresh` is the state it would start from at step 0.

    `train` and `drawing` are the first section's; held-out rows are those of the last section's data, which the run ends on.

    `model_name` is the network's registered name, or the name of the run whose weights it starts from.
    """

    config: TrainConfig
    folder: Path
    model_name: str
    data_sets: tuple[DataSet, ...]
    train: Split
    heldout: Split
    network: ModelConfig
    init: SavedModel | None
    schedule: Schedule
    sizes: BatchSizes
    drawing: Drawing
    sections: tuple[Section, ...]
    batches: BatchPlan
    fresh: TrainState
    cooldown: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where training begins: after `state.step`, with the tensors of `checkpoint` (None: from initial weights)."""

    state: TrainState
    checkpoint: Checkpoint | None


def make_plan(config: TrainConfig, *, verify: bool, say: Say = print) -> TrainingPlan:
    """Check that data and network fit, and fill in what follows from them. Hashes the shards when `verify` is set.

    Raises NotFoundError, FormatError, IntegrityError, MismatchError or UsageError.
    """
    opened = open_sections(config)
    data_sets = tuple(data_set for _, found in opened for data_set in found)
    tokenizer = data_sets[0].manifest.tokenizer
    trains, heldout = [Split(found, "train") for _, found in opened], Split(opened[-1][1], "heldout")
    if not all(len(train) for train in trains):
        raise UsageError("the data has no training samples", expected="at least one", got=", ".join(s.name for s in data_sets))
    if config.sop and all(s.manifest.layout != "pairs" for s in data_sets):
        raise UsageError(
            "the data has no sentence pairs, so there is no sentence order to predict", expected="layout 'pairs'",
            got=", ".join(f"{s.name}: {s.manifest.layout!r}" for s in data_sets), hint="Train with --objective mlm",
        )  # fmt: skip
    require_drawn_masks(config, data_sets)
    if config.patience is not None and not len(heldout):
        raise UsageError(
            "--patience needs held-out samples to measure on", got=", ".join(s.name for s in data_sets),
            hint="Build the data with --heldout",
        )  # fmt: skip
    if config.probe is not None:
        probe_command(config.probe)
    init = resolve_model(config.init, say=say) if config.init is not None else None
    if config.extend_vocab is not None:
        init = _extended(config, init, say)
    network = _network(config, data_sets, init)
    if init is not None and init.absent:
        say(f"init: {init.path} has no {'*, '.join(init.absent)}*: these weights start from random values")
    if config.rtd:
        generator_config(network)
    cooldown = find_checkpoint(Path(config.cooldown_from), say) if config.cooldown_from is not None else None
    if verify:
        for data_set in data_sets:
            data_set.verify()
    sections = tuple(
        Section(train=train, sizes=sizes, drawing=make_drawing(config, train))
        for train, (sizes, _) in zip(trains, opened, strict=True)
    )
    train, drawing = sections[0].train, sections[0].drawing
    units = sum(p.rows for p in drawing.packings) or len(train)
    schedule = config.schedule(units, cooldown.step if cooldown is not None else None)
    data = tuple(DataIdentity(name=s.name, fingerprint=s.manifest.fingerprint) for s in data_sets)
    model_name = init.name if init is not None else config.model or DEFAULT_MODEL
    return TrainingPlan(
        config=config,
        folder=Path(config.out) / (config.name or f"{model_name}-{_identifier(data)}"),
        model_name=model_name,
        data_sets=data_sets,
        train=train,
        heldout=heldout,
        network=network,
        init=init,
        schedule=schedule,
        sizes=config.batch_sizes(),
        drawing=drawing,
        sections=sections,
        batches=batch_plan(config, tokenizer, max_steps=schedule.max_steps),
        fresh=TrainState(
            seed=config.seed,
            tokenizer_hash=tokenizer.hash,
            data=data,
            training=config.identity(schedule, network.to_json()) | packing_identity(drawing),
            scaler=fresh_scaler(is_dynamic=config.scales_loss),
        ),
        cooldown=cooldown,
    )


_ELECTRA_MASK_SHARE = 0.85  # the others are kept as they are: ELECTRA's own code; PaddleNLP's scripts follow BERT


def batch_plan(config: TrainConfig, tokenizer: TokenizerEntry, *, max_steps: int) -> BatchPlan:
    """Return how batches are made: what decides their arrays beside the samples."""
    return BatchPlan(
        special_ids=tokenizer.special_ids,
        vocab_size=tokenizer.vocab_size,
        pair_template=tokenizer.pair_template,
        mask=MaskPolicy(
            rate=config.mask_rate if config.last_mask_rate is None else config.last_mask_rate,
            max_ngram=config.ngrams,
            per_word=config.corruption == "word",
            mask_share=_ELECTRA_MASK_SHARE if config.corruption == "electra" else MaskPolicy.mask_share,
            random_share=0.0 if config.corruption == "electra" else MaskPolicy.random_share,
        ),
        mask_rates=config.mask_rates(max_steps),
        sop=config.sop,
        seed=config.seed,
    )


def _identifier(data: Sequence[DataIdentity]) -> str:
    """Return 8 digits that tell data apart: of the one set's fingerprint, or of all of them."""
    whole = data[0].fingerprint if len(data) == 1 else fingerprint([d.fingerprint for d in data])
    return whole[:8]


def _extended(config: TrainConfig, init: SavedModel | None, say: Say) -> SavedModel:
    from pretrain.extend_vocab import extended

    if init is None:
        raise UsageError("--extend-vocab needs --init: the model that the new tokens are added to")
    found, grown = extended(init, Path(str(config.extend_vocab)))
    say(f"init: {len(grown.pieces)} new tokens, which start from the pieces that spelled them")
    return found


def _network(config: TrainConfig, data_sets: Sequence[DataSet], init: SavedModel | None) -> ModelConfig:
    tokenizer = data_sets[0].manifest.tokenizer
    if init is None:
        network = model_config(config.model or DEFAULT_MODEL, tokenizer.vocab_size, pad_id=tokenizer.special_ids.pad)
    else:
        if init.tokenizer_hash != tokenizer.hash or init.config.vocab_size < tokenizer.vocab_size:
            raise MismatchError(
                "the weights were trained with another tokenizer than the data was built with", where=init.path,
                expected=f"tokenizer {tokenizer.hash} of {tokenizer.vocab_size} tokens ({data_sets[0].path})",
                got=f"tokenizer {init.tokenizer_hash} of {init.config.vocab_size} tokens",
                hint=f"Build the data with the tokenizer of the weights: --tokenizer {init.tokenizer_folder}"
                + (f" --extend-vocab {config.extend_vocab}" if config.extend_vocab is not None else ""),
            )  # fmt: skip
        if (init.objective == RTD) != config.rtd:
            learnt = init.objective or "mlm"
            raise MismatchError(
                f"the weights were trained for {learnt!r}, whose heads are not those of {config.objective!r}", where=init.path,
                hint=f"Give --objective {learnt}",
            )  # fmt: skip
        network = init.config
        if config.model is not None and _shape(model_config(config.model, tokenizer.vocab_size)) != _shape(network):
            raise MismatchError(f"--model {config.model} is not the network of --init", where=init.path, hint="Leave out --model")
    longest = max(s.manifest.max_seq_len for s in data_sets)
    if longest > network.max_positions:
        raise MismatchError(
            "samples are longer than the network can take", expected=f"at most {network.max_positions} tokens",
            got=longest, hint="Build the data with a smaller --max-seq-len",
        )  # fmt: skip
    return network


def _shape(network: ModelConfig) -> tuple[object, ...]:
    return (
        network.architecture, network.hidden_size, network.embedding_size, network.num_layers, network.num_heads,
        network.intermediate_size, network.num_groups,
    )  # fmt: skip


def choose_start(plan: TrainingPlan, say: Say = print) -> Start:
    """Decide from the run's folder and --resume where training begins. Call it under the run's lock.

    Raises RunExistsError for a run that is finished or must not be gone on with, MismatchError when the run was another
    training, CheckpointError when all of its checkpoints are damaged. Damaged ones newer than the one used are renamed.
    """
    if plan.config.resume not in ("auto", "never"):
        return _start_from(Path(plan.config.resume), plan, say)
    record = read_run(plan.folder)
    if record is None and not list_checkpoints(plan.folder):
        return _beginning(plan)
    if plan.config.resume == "never":
        raise RunExistsError("there is a run of this name", where=plan.folder, hint="Name another: --name OTHER")
    if record is not None and record["state"] == FINISHED:
        raise RunExistsError(
            "this run is finished", where=plan.folder,
            hint=f"To train another, name it: --name OTHER; to train these weights on: --name OTHER --init {plan.folder}",
        )  # fmt: skip
    checkpoint, damaged = newest_valid(plan.folder, say)
    if checkpoint is None:
        if damaged:
            raise CheckpointError(
                f"all {len(damaged)} checkpoints of the run are damaged", where=plan.folder, hint="Start again: --name OTHER"
            )
        say(f"run {plan.folder.name} had not reached its first checkpoint: it starts from the beginning")
        return _beginning(plan)
    state = _state_of(checkpoint, plan)
    for folder in damaged:
        say(f"damaged checkpoint is kept as {set_aside(folder)}")
    return Start(state=state, checkpoint=checkpoint)


def _beginning(plan: TrainingPlan) -> Start:
    """Return the start of a new run: nothing, or the full state that --cooldown-from names. Raises MismatchError."""
    if plan.cooldown is None:
        return Start(state=plan.fresh, checkpoint=None)
    where = plan.cooldown.path
    saved = TrainState.from_json(plan.cooldown.state(), where=where)
    require_coolable(saved, plan.schedule, where=where)
    kept = {name: plan.fresh.training[name] for name in ("schedule", "max_hours", "rollback")}
    state = replace(saved, training={**saved.training, **kept})
    require_continues(state, plan.fresh, where=where)
    return Start(state=state, checkpoint=plan.cooldown)


def _start_from(path: Path, plan: TrainingPlan, say: Say) -> Start:
    """Start from a checkpoint that the user named, in this run's folder or another's."""
    checkpoint = find_checkpoint(path, say)
    state = _state_of(checkpoint, plan)
    own = list_checkpoints(plan.folder)
    newer = sorted(p.name for p in own if (step_of(p) or 0) > checkpoint.step)
    if checkpoint.path.resolve().parent.parent != plan.folder.resolve():
        if own or read_run(plan.folder) is not None:
            raise RunExistsError("there is a run of this name", where=plan.folder, hint="Name another: --name OTHER")
    elif newer:
        raise RunExistsError(
            f"the run has newer checkpoints than {checkpoint.path.name}: {', '.join(newer)}", where=plan.folder,
            hint="To branch off there, name another run: --name OTHER",
        )  # fmt: skip
    return Start(state=state, checkpoint=checkpoint)


def _state_of(checkpoint: Checkpoint, plan: TrainingPlan) -> TrainState:
    state = TrainState.from_json(checkpoint.state(), where=checkpoint.path)
    require_continues(state, plan.fresh, where=checkpoint.path)
    return state


def follow_start(plan: TrainingPlan, step: int) -> Start:
    """Return the start that the first rank chose and announced by its `step`; it has checked the hashes already."""
    if plan.config.resume not in ("auto", "never"):
        checkpoint = find_checkpoint(Path(plan.config.resume), _say_nothing)
    elif step == 0 or (plan.cooldown is not None and not step_folder(plan.folder, step).is_dir()):
        return _beginning(plan)
    else:
        checkpoint = Checkpoint(path=step_folder(plan.folder, step), step=step, fingerprint="")
    return Start(state=_state_of(checkpoint, plan), checkpoint=checkpoint)


def _say_nothing(text: str) -> None:
    """Leave the talking to the first rank."""
