"""A run goes on from whole checkpoints of its own training only; what is damaged stays as evidence, what differs is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pretrain.checkpoint import Contents, step_folder, write_checkpoint
from pretrain.config import ModelConfig
from pretrain.plan import TrainingPlan, choose_start
from shards.errors import MismatchError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_network, tiny_plan

FILES = ("config.json", "integrity.json", "model.safetensors", "optimizer.safetensors", "state.json", "tokenizer/vocab.txt")
VOCABULARIES = (("one", 64), ("two", 64), ("one", 96), ("two", 128))
NETWORKS: tuple[dict[str, int], ...] = ({}, {"hidden_size": 32, "embedding_size": 32}, {"num_layers": 3})


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def saved_twice(tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    """A run that was stopped behind its second checkpoint, step 4."""
    shards = write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")
    plan = tiny_plan(tiny_config(shards, tmp_path_factory.mktemp("runs"), save_steps=2))
    trainer = new_trainer(plan)
    trainer.run(lambda: 15 if trainer.state.step >= 4 else None)
    return plan


@pytest.mark.parametrize("damage", [missing, truncated, flipped])
@pytest.mark.parametrize("name", FILES)
def test_any_damage_to_the_newest_checkpoint_falls_back_saying_so(
    saved_twice: TrainingPlan, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    plan = replace(saved_twice, folder=shutil.copytree(saved_twice.folder, tmp_path / "run"))
    newest = step_folder(plan.folder, 4)
    damage(newest / name)
    left = {p.relative_to(newest): p.read_bytes() for p in newest.rglob("*") if p.is_file()}
    said: list[str] = []
    start = choose_start(plan, said.append)
    assert (start.state.step, start.checkpoint and start.checkpoint.step) == (2, 2)
    assert "step-00000004" in said[0] and name.split("/")[0] in said[0] and "damaged-1" in said[1]
    aside = newest.with_name("step-00000004.damaged-1")
    assert {p.relative_to(aside): p.read_bytes() for p in aside.rglob("*") if p.is_file()} == left


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingPlan]:
    """Four vocabularies, three networks: a training for each pair, all of them with a run that has a checkpoint."""
    plans = []
    for number, (words, size) in enumerate(VOCABULARIES):
        shards = write_tiny_data(tmp_path_factory.mktemp(f"set{number}") / "tiny", vocabulary=words, vocab_size=size)
        for changes in NETWORKS:
            network: ModelConfig = replace(tiny_network(vocab_size=size), **changes)  # type: ignore[arg-type]
            plan = tiny_plan(tiny_config(shards, tmp_path_factory.mktemp("runs")), network)
            contents = Contents(
                step=3, model={}, optimizer=None, state=replace(plan.fresh, step=3).to_json(), config=network, tokenizer_files={}
            )
            write_checkpoint(step_folder(plan.folder, 3), contents)
            plans.append(plan)
    return plans


def test_every_other_vocabulary_or_network_is_refused_with_both_values(trainings: list[TrainingPlan]) -> None:
    for mine in trainings:
        for other in trainings:
            plan = replace(other, folder=mine.folder)
            if other is mine:
                assert choose_start(plan).state.step == 3
                continue
            with pytest.raises(MismatchError) as caught:
                choose_start(plan)
            said = str(caught.value)
            if mine.fresh.tokenizer_hash != other.fresh.tokenizer_hash:
                for one in (mine, other):
                    assert f"{one.fresh.tokenizer_hash} of {one.network.vocab_size} tokens" in said
            else:
                assert "model differs" in said and ("hidden_size" in said or "num_layers" in said)
