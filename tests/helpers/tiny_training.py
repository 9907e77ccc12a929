"""Training runs small enough for a test: a network of a few thousand weights, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrain.checkpoint import Contents, write_checkpoint
from pretrain.config import ModelConfig
from pretrain.distributed import World
from pretrain.log_line import MEASURED, read_metrics
from pretrain.options import TrainConfig
from pretrain.plan import TrainingPlan, choose_start, make_plan


def tiny_network(*, vocab_size: int = 64, dropout: float = 0.1) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        embedding_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=32,
        max_positions=64,
        dropout=dropout,
        attention_dropout=dropout,
    )


def tiny_config(shards: Path, out: Path, **changes: object) -> TrainConfig:
    defaults = TrainConfig(
        shards=str(shards), out=str(out), name="run", global_batch=8, micro_batch=4, max_steps=12, max_lr=1e-2, min_lr=1e-3,
        logging_steps=5, eval_steps=4, save_steps=3, workers=0, device="cpu",
    )  # fmt: skip
    return replace(defaults, **changes)  # type: ignore[arg-type]


def tiny_plan(config: TrainConfig, network: ModelConfig | None = None) -> TrainingPlan:
    """Return the plan of `config` with a network that no name stands for."""
    network = network or tiny_network()
    plan = make_plan(replace(config, model="roformer-tiny"), verify=True, say=_silent)
    fresh = replace(plan.fresh, training=config.identity(plan.schedule, network.to_json()))
    return replace(plan, network=network, fresh=fresh)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Return what a run wrote to metrics.jsonl, but for what depends on the machine and its clock."""
    return [{k: v for k, v in record.items() if k not in MEASURED} for record in read_metrics(folder)]


def _silent(text: str) -> None:
    """Tests look at results."""


def start_paddle() -> None:
    from pretrain import environment

    environment.start("cpu")


def new_trainer(plan: TrainingPlan, *, world: World | None = None, say: Callable[[str], None] = _silent):  # type: ignore[no-untyped-def]
    """Return a trainer that goes on where the run's folder stands."""
    start_paddle()
    from pretrain.step_records import cut_all
    from pretrain.trainer import Trainer

    plan.folder.mkdir(parents=True, exist_ok=True)
    start, world = choose_start(plan, say), world or World()
    if world.is_first:
        cut_all(plan.folder, start.state.step)
    return Trainer(plan, start, world, tokenizer_files={"vocab.txt": b"one\n"})


def write_initial_checkpoint(folder: Path, network: ModelConfig, tokenizer_hash: str) -> Path:
    """Write random weights as a checkpoint to start from with --init."""
    start_paddle()
    import paddle

    from pretrain.heads import PretrainingModel
    from pretrain.weights import named_weights

    paddle.seed(7)
    weights = named_weights(PretrainingModel(network))
    contents = Contents(
        step=0, model=weights, optimizer=None, state={"tokenizer_hash": tokenizer_hash}, config=network,
        tokenizer_files={"vocab.txt": b"one\n"},
    )  # fmt: skip
    write_checkpoint(folder, contents)
    return folder
