"""Stopped anywhere and resumed, cut up in any way, looked at more or less often: training ends with the same bytes."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.checkpoint import list_checkpoints, newest_valid, step_folder, verify_checkpoint
from pretrain.distributed import World
from pretrain.errors import CheckpointError, DivergenceError, RunExistsError
from pretrain.loader import MicroBatches
from pretrain.options import TrainConfig
from pretrain.plan import TrainingPlan, choose_start
from shards.errors import IntegrityError, MismatchError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import metrics, new_trainer, tiny_config, tiny_network, tiny_plan

STEPS = 12  # two epochs of 48 samples, 8 a step


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    """A run that was left alone."""
    plan = tiny_plan(tiny_config(shards, tmp_path_factory.mktemp("whole")))
    new_trainer(plan).run()
    return plan


def final_fingerprint(plan: TrainingPlan) -> str:
    return verify_checkpoint(step_folder(plan.folder, STEPS)).fingerprint


def stop_after(trainer: Any, step: int) -> Callable[[], int | None]:
    return lambda: signal.SIGTERM if trainer.state.step >= step else None


def test_the_run_learns(whole: TrainingPlan) -> None:
    losses = [record["lm_loss"] for record in metrics(whole.folder) if "lm_loss" in record]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 6, 11])
def test_stopped_in_order_at_a_step_and_resumed(shards: Path, tmp_path: Path, whole: TrainingPlan, cut: int) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path))
    first = new_trainer(plan)
    stopped = first.run(stop_after(first, cut))
    assert (stopped.step, stopped.stopped_by) == (cut, signal.SIGTERM)
    second = new_trainer(plan)
    assert second.state.step == cut
    second.run()
    assert final_fingerprint(plan) == final_fingerprint(whole)
    assert metrics(plan.folder) == metrics(whole.folder)


def test_looking_more_often_changes_nothing(shards: Path, tmp_path: Path, whole: TrainingPlan) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path, logging_steps=1, eval_steps=1, save_steps=2, keep=1))
    new_trainer(plan).run()
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (step_folder(plan.folder, STEPS) / name).read_bytes() == (step_folder(whole.folder, STEPS) / name).read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_nothing(shards: Path, tmp_path: Path, whole: TrainingPlan, workers: int) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path, workers=workers))
    new_trainer(plan).run()
    assert final_fingerprint(plan) == final_fingerprint(whole)


def test_another_seed_changes_the_bytes(shards: Path, tmp_path: Path, whole: TrainingPlan) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path, seed=1))
    new_trainer(plan).run()
    assert final_fingerprint(plan) != final_fingerprint(whole)


def samples_of_step(plan: TrainingPlan, step: int, ranks: int, micro_batch: int) -> list[int]:
    ids: list[int] = []
    for rank in range(ranks):
        batches = MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=micro_batch, rank=rank, ranks=ranks)
        for number in range((step - 1) * batches.per_step, step * batches.per_step):
            ids += batches.make(number)["sample_ids"].tolist()
    return ids


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 4), (1, 3), (2, 4), (2, 1), (4, 2), (8, 1), (3, 2)])
def test_the_same_samples_in_the_same_order_however_they_are_cut_up(
    shards: Path, tmp_path: Path, ranks: int, micro_batch: int
) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path))
    for step in (1, 5, 6, 7, 1_000_000):
        assert samples_of_step(plan, step, ranks, micro_batch) == samples_of_step(plan, step, 1, 8)


def test_an_epoch_has_each_sample_once(shards: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path))
    epoch = [i for step in range(1, 7) for i in samples_of_step(plan, step, 2, 4)]
    assert len(set(epoch)) == len(epoch) == len(plan.train)


def gradients(shards: Path, out: Path, ranks: int, micro_batch: int) -> tuple[dict[str, Any], Any]:
    """Return the gradients and losses of step 1, summed over simulated ranks."""
    plan = tiny_plan(tiny_config(shards, out, micro_batch=micro_batch), tiny_network(dropout=0.0))
    trainers = [new_trainer(plan, world=World(rank=rank, size=ranks)) for rank in range(ranks)]
    steps = [[trainer.batches.make(i) for i in range(trainer.batches.per_step)] for trainer in trainers]
    counts = tuple(np.sum([batch["counts"] for batches in steps for batch in batches], axis=0).tolist())
    total: dict[str, Any] = {}
    losses = np.zeros(3)
    for trainer, batches in zip(trainers, steps, strict=True):
        import paddle

        tensors = [{name: paddle.to_tensor(array) for name, array in batch.items()} for batch in batches]
        losses += trainer.backward(1, tensors, counts).numpy()
        for name, gradient in trainer.optimizer.gradients().items():
            total[name] = total.get(name, 0.0) + gradient.numpy().astype(np.float64)
    return total, losses


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 1), (1, 3), (2, 4), (4, 2)])
def test_the_same_gradient_however_the_batch_is_cut_up(shards: Path, tmp_path: Path, ranks: int, micro_batch: int) -> None:
    expected, expected_losses = gradients(shards, tmp_path / "a", 1, 8)
    found, found_losses = gradients(shards, tmp_path / "b", ranks, micro_batch)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-6, rtol=0, err_msg=name)
    np.testing.assert_allclose(found_losses, expected_losses, atol=1e-6)


def test_a_gradient_that_is_not_finite_stops_the_run_before_any_weight_changes(shards: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_config(shards, tmp_path))
    trainer = new_trainer(plan)
    import paddle

    name, backward = "roformer.embeddings.word_embeddings.weight", trainer.backward

    def poisoned(step: int, batches: Any, counts: Any) -> Any:
        losses = backward(step, batches, counts)
        if step == 5:
            with paddle.no_grad():
                gradient = trainer.optimizer.gradients()[name]
                paddle.assign(paddle.full_like(gradient, float("nan")), gradient)
        return losses

    trainer.backward = poisoned
    with pytest.raises(DivergenceError, match=rf"step 5, samples \d+.*gradient of {re.escape(name)} is not finite") as caught:
        trainer.run()
    assert "loss scale 1.0" in str(caught.value)
    assert all(bool(paddle.isfinite(p).all()) for p in trainer.network.parameters())
    assert trainer.state.step == 4
    found, damaged = newest_valid(plan.folder)
    assert found is not None and found.step == 3 and damaged == []


def test_a_loss_that_is_not_finite_names_the_loss(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path)))
    import paddle

    trainer.backward = lambda step, batches, counts: paddle.to_tensor([float("inf"), 0.5, 0.0])
    trainer.optimizer.squared_norm = lambda: paddle.ones([1])
    with pytest.raises(DivergenceError, match="loss is not finite"):
        trainer.run()


def test_an_epoch_that_lost_a_sample_ends_the_run(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path)))
    make = trainer.batches.make

    def doubled(number: int) -> Any:
        batch = make(number)
        if number == 3:
            batch["sample_ids"][0] = batch["sample_ids"][1]
        return batch

    trainer.batches.make = doubled
    with pytest.raises(IntegrityError, match="epoch 0 did not read every sample exactly once"):
        trainer.run()
    assert trainer.state.step == 5


@pytest.fixture
def interrupted(shards: Path, tmp_path: Path) -> TrainingPlan:
    plan = tiny_plan(tiny_config(shards, tmp_path / "runs"))
    trainer = new_trainer(plan)
    trainer.run(stop_after(trainer, 4))
    return plan


CHANGES: list[tuple[dict[str, object], str]] = [
    ({"seed": 3}, r"seed differs.*expected 0, got 3"),
    ({"global_batch": 16}, r"global_batch differs.*expected 8, got 16"),
    ({"objective": "mlm"}, r"objective differs.*expected mlm-sop, got mlm"),
    ({"max_lr": 1e-3}, r"schedule differs.*'max_lr': 0.01.*'max_lr': 0.001"),
    ({"max_steps": 24}, r"schedule differs.*'max_steps': 12.*'max_steps': 24"),
    ({"lr_schedule": "cosine"}, r"schedule differs.*'linear'.*'cosine'"),
    ({"mask_rate": 0.3}, r"mask_rate differs.*0.15.*0.3"),
    ({"weight_decay": 0.1}, r"weight_decay differs.*0.01.*0.1"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[next(iter(c[0])) for c in CHANGES])
def test_a_changed_option_is_refused_by_name_with_both_values(
    interrupted: TrainingPlan, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(MismatchError, match=message):
        choose_start(tiny_plan(replace(interrupted.config, **changes)))  # type: ignore[arg-type]


def test_a_changed_network_is_refused(interrupted: TrainingPlan) -> None:
    with pytest.raises(MismatchError, match=r"model differs.*'dropout': 0.1.*'dropout': 0.0"):
        choose_start(tiny_plan(interrupted.config, tiny_network(dropout=0.0)))


def test_changed_data_is_refused_with_both_fingerprints(interrupted: TrainingPlan, tmp_path: Path) -> None:
    write_tiny_data(tmp_path / "tiny", seed=1)
    other = tiny_plan(replace(interrupted.config, shards=str(tmp_path / "tiny")))
    prints = [p.fresh.data[0].fingerprint[:16] for p in (interrupted, other)]
    with pytest.raises(MismatchError, match=f"{prints[0]}.*{prints[1]}"):
        choose_start(other)


def test_another_tokenizer_is_refused_with_both_hashes(interrupted: TrainingPlan, tmp_path: Path) -> None:
    write_tiny_data(tmp_path / "tiny", vocabulary="other")
    other = tiny_plan(replace(interrupted.config, shards=str(tmp_path / "tiny")))
    hashes = [p.fresh.tokenizer_hash for p in (interrupted, other)]
    with pytest.raises(MismatchError, match=f"tokenizer.*{hashes[0]}.*{hashes[1]}"):
        choose_start(other)


def test_batch_splits_and_reporting_may_change(interrupted: TrainingPlan) -> None:
    plan = tiny_plan(replace(interrupted.config, micro_batch=2, logging_steps=1, eval_steps=3, save_steps=4, keep=1))
    assert choose_start(plan).state.step == 4


def test_data_that_moved_goes_on(interrupted: TrainingPlan, tmp_path: Path) -> None:
    moved = shutil.copytree(interrupted.config.shards, tmp_path / "renamed")
    assert choose_start(tiny_plan(replace(interrupted.config, shards=str(moved)))).state.step == 4


def test_a_damaged_newest_checkpoint_is_set_aside_and_its_step_done_again(interrupted: TrainingPlan, whole: TrainingPlan) -> None:
    newest = step_folder(interrupted.folder, 4)
    (newest / "optimizer.safetensors").write_bytes(b"junk")
    said: list[str] = []
    trainer = new_trainer(interrupted, say=said.append)
    assert trainer.state.step == 3
    assert "step-00000004" in said[0] and "damaged-1" in said[1]
    trainer.run()
    assert final_fingerprint(interrupted) == final_fingerprint(whole)
    assert (newest.with_name("step-00000004.damaged-1") / "optimizer.safetensors").read_bytes() == b"junk"


def test_a_run_with_damaged_checkpoints_only_is_refused(interrupted: TrainingPlan) -> None:
    for folder in list_checkpoints(interrupted.folder):
        (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match="all 2 checkpoints"):
        choose_start(interrupted, lambda text: None)


def with_resume(plan: TrainingPlan, **changes: object) -> TrainingPlan:
    config: TrainConfig = replace(plan.config, **changes)  # type: ignore[arg-type]
    return tiny_plan(config)


def test_never_refuses_and_a_path_branches_off(interrupted: TrainingPlan, whole: TrainingPlan) -> None:
    with pytest.raises(RunExistsError, match="--name OTHER"):
        choose_start(with_resume(interrupted, resume="never"))
    older = str(step_folder(interrupted.folder, 3))
    with pytest.raises(RunExistsError, match="newer checkpoints than step-00000003: step-00000004"):
        choose_start(with_resume(interrupted, resume=older))
    branch = with_resume(interrupted, resume=older, name="branch")
    trainer = new_trainer(branch)
    assert trainer.state.step == 3
    trainer.run()
    assert final_fingerprint(branch) == final_fingerprint(whole)
