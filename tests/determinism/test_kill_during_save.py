"""Checkpoints are written while training goes on: cut anywhere, nothing is lost, nothing lies, and the same bytes come out."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pretrain import checkpoint_writer
from pretrain.checkpoint import list_checkpoints, newest_valid, step_folder, verify_checkpoint
from pretrain.plan import TrainingPlan
from shards import durable
from shards.errors import StorageError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import metrics, new_trainer, tiny_config, tiny_plan

STEPS = 6


class Killed(BaseException):
    """What a test calls the end of a process: nothing durable happens after it, in any thread."""


def short_plan(shards: Path, out: Path) -> TrainingPlan:
    config = tiny_config(shards, out, max_steps=STEPS, save_steps=2, eval_steps=3, logging_steps=1, keep=2)
    return tiny_plan(config)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    plan = short_plan(shards, tmp_path_factory.mktemp("whole"))
    new_trainer(plan).run()
    return plan


def ends_alike(plan: TrainingPlan, whole: TrainingPlan) -> None:
    prints = [verify_checkpoint(step_folder(p.folder, STEPS)).fingerprint for p in (plan, whole)]
    assert prints[0] == prints[1]
    records = [metrics(p.folder) for p in (plan, whole)]
    assert records[0] == records[1]


def die_at(plan: TrainingPlan, cut: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Train until durable operation `cut` of training and its writer together; return whether it came to that."""
    done, lock = 0, threading.Lock()

    def kill(kind: str, path: Path) -> None:
        nonlocal done
        with lock:
            done += 1
            if done >= cut:
                raise Killed

    trainer = new_trainer(plan)
    monkeypatch.setattr(durable, "fault_hook", kill)
    try:
        trainer.run()
    except Killed:
        return True
    finally:
        monkeypatch.setattr(durable, "fault_hook", None)
    return False


def recovers_from_cuts(shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch, every: int) -> int:
    for cuts, cut in enumerate(range(1, 10_000, every)):
        plan = short_plan(shards, tmp_path / str(cut))
        if not die_at(plan, cut, monkeypatch):
            return cuts
        assert newest_valid(plan.folder)[1] == [], "a checkpoint under its own name is whole"
        new_trainer(plan).run()
        ends_alike(plan, whole)
    raise AssertionError("training never came to its end")


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_within_any_step_and_resumed(
    shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Gradients are there, weights are not yet changed; what the writer had in hand is lost too."""
    plan = short_plan(shards, tmp_path)
    trainer = new_trainer(plan)
    update = trainer.optimizer.update

    def kill(*_: object) -> None:
        raise Killed

    def update_or_die(*arguments: float) -> None:
        if trainer.state.step + 1 == step:
            monkeypatch.setattr(durable, "fault_hook", kill)
            raise Killed
        update(*arguments)

    trainer.optimizer.update = update_or_die
    with pytest.raises(Killed):
        trainer.run()
    monkeypatch.setattr(durable, "fault_hook", None)
    new_trainer(plan).run()
    ends_alike(plan, whole)


def test_killed_at_durable_operations_and_resumed(
    shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recovers_from_cuts(shards, tmp_path, whole, monkeypatch, every=13) > 7


@pytest.mark.slow
def test_killed_at_every_durable_operation_and_resumed(
    shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recovers_from_cuts(shards, tmp_path, whole, monkeypatch, every=1) > 90


def test_a_step_does_not_wait_for_the_disk(
    shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk stands still in the middle of the first save, until training has done more steps; the bytes are the same."""
    plan, went_on = short_plan(shards, tmp_path), threading.Event()
    trainer = new_trainer(plan)

    def stand_still(kind: str, path: Path) -> None:
        if threading.current_thread().name == "checkpoint-writer":
            assert went_on.wait(60)

    def stop() -> None:
        if trainer.state.step == 3:
            assert list_checkpoints(plan.folder) == [], "step 2 was saved before the disk was let go"
            went_on.set()

    monkeypatch.setattr(durable, "fault_hook", stand_still)
    trainer.run(stop)
    assert went_on.is_set()
    monkeypatch.setattr(durable, "fault_hook", None)
    ends_alike(plan, whole)


def test_one_checkpoint_waits_at_most(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(shards, tmp_path, max_steps=STEPS, save_steps=1, keep=STEPS)
    plan, in_hand, most = tiny_plan(config), 0, 0
    trainer = new_trainer(plan)
    write, submit = checkpoint_writer.write_checkpoint, trainer._writer.submit

    def count(contents: object) -> None:
        nonlocal in_hand, most
        submit(contents)  # type: ignore[arg-type]
        in_hand += 1
        most = max(most, in_hand)

    def counted(folder: Path, contents: object) -> object:
        nonlocal in_hand
        made = write(folder, contents)  # type: ignore[arg-type]
        in_hand -= 1
        return made

    monkeypatch.setattr(trainer._writer, "submit", count)
    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", counted)
    trainer.run()
    assert most <= 3  # one written, one waiting, one handed over just now
    assert [p.name for p in list_checkpoints(plan.folder)] == [f"step-{s:08d}" for s in range(STEPS, 0, -1)]


def test_an_error_of_the_writer_stops_the_run_and_the_older_checkpoint_stays(
    shards: Path, tmp_path: Path, whole: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = short_plan(shards, tmp_path)
    trainer = new_trainer(plan)

    def full(kind: str, path: Path) -> None:
        if kind == "write" and path.name == "optimizer.safetensors" and "step-00000004" in str(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "fault_hook", full)
    with pytest.raises(StorageError, match="No space left"):
        trainer.run()
    monkeypatch.setattr(durable, "fault_hook", None)
    assert [p.name for p in list_checkpoints(plan.folder)] == ["step-00000002"]
    assert not list(plan.folder.rglob(".*tmp*"))
    new_trainer(plan).run()
    ends_alike(plan, whole)


def test_what_was_copied_for_a_checkpoint_does_not_change_with_the_weights(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(short_plan(shards, tmp_path))
    trainer.run(lambda: 15 if trainer.state.step >= 1 else None)
    from pretrain.weights import named_weights

    held = named_weights(trainer.network) | trainer.optimizer.state()
    before = {name: array.copy() for name, array in held.items()}
    trainer.run()
    assert any((array != trainer.optimizer.state()[name]).any() for name, array in before.items() if name.endswith("moment1"))
    for name, array in before.items():
        np.testing.assert_array_equal(held[name], array, err_msg=name)


def test_a_run_killed_behind_its_last_checkpoint_ends_at_once(shards: Path, tmp_path: Path, whole: TrainingPlan) -> None:
    plan = short_plan(shards, tmp_path)
    new_trainer(plan).run()
    again = new_trainer(plan).run()
    assert (again.step, again.checkpoint.fingerprint) == (STEPS, verify_checkpoint(step_folder(plan.folder, STEPS)).fingerprint)
    ends_alike(plan, whole)
