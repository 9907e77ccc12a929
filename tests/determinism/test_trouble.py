"""Overflows, spikes, rollbacks, cooldowns and budgets: no bad number reaches a weight, and a resumed run ends with the same bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain import spikes
from pretrain.autopsy import scaler_report
from pretrain.checkpoint import newest_valid, step_folder, verify_checkpoint
from pretrain.errors import DivergenceError
from pretrain.log_line import read_metrics
from pretrain.log_reader import read_log
from pretrain.options import TrainConfig
from pretrain.plan import TrainingPlan
from pretrain.step_records import METRICS, OVERFLOWS, ROLLBACKS, SPIKES, read_records
from pretrain.weights import load_weights
from shards.errors import MismatchError, UsageError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

HALF = {"amp": "O1", "amp_dtype": "float16", "amp_emulate": True}
TOO_HIGH = 2.0**20  # gradients of the tiny network times this are beyond float16


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


def fingerprint(plan: TrainingPlan, step: int = 12) -> str:
    return verify_checkpoint(step_folder(plan.folder, step)).fingerprint


def stop_after(trainer: Any, step: int) -> Callable[[], int | None]:
    return lambda: signal.SIGTERM if trainer.state.step >= step else None


def weights(plan: TrainingPlan, step: int) -> Any:
    return load_weights(step_folder(plan.folder, step) / "model.safetensors")


def same(a: Any, b: Any) -> bool:
    return all((a[name] == b[name]).all() for name in a)


def overflowing(shards: Path, out: Path) -> Any:
    """Return a trainer whose scale is too high for float16 at first."""
    trainer = new_trainer(tiny_plan(tiny_config(shards, out, logging_steps=1, save_steps=1, keep=20, **HALF)))
    if trainer.state.step == 0:
        trainer.state = replace(trainer.state, scaler=replace(trainer.state.scaler, scale=TOO_HIGH))
    return trainer


@pytest.fixture(scope="module")
def overflowed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    trainer = overflowing(shards, tmp_path_factory.mktemp("overflowed"))
    trainer.run()
    return trainer


def test_overflows_are_skipped_counted_and_written_down(overflowed: Any) -> None:
    plan, scaler = overflowed.plan, overflowed.state.scaler
    ledger = read_records(plan.folder / OVERFLOWS)
    skipped = [record["step"] for record in ledger]
    assert scaler.skipped_steps == len(skipped) >= 2 and skipped[:2] == [1, 2] and skipped[-1] < 12
    assert ledger[0]["scale"] == TOO_HIGH and ledger[0]["skipped"] is True
    assert ledger[0]["tensor"].startswith("gradient of ") and ledger[0]["lm_loss"] > 0
    for step in range(2, 13):
        assert same(weights(plan, step - 1), weights(plan, step)) == (step in skipped)
    assert all(np.isfinite(tensor).all() for tensor in weights(plan, 12).values())


def test_the_log_line_tells_the_scaler_as_it_is(overflowed: Any) -> None:
    records = [r for r in read_metrics(overflowed.plan.folder) if "loss" in r]
    assert [r["step"] for r in records] == list(range(1, 13))
    assert (records[0]["loss_scaling"], records[0]["num_good_steps"], records[0]["num_bad_steps"]) == (TOO_HIGH, 0, 1)
    assert records[1]["loss_scaling"] == np.float32(TOO_HIGH) * np.float32(0.8) and records[1]["num_bad_steps"] == 0
    last, scaler = records[-1], overflowed.state.scaler
    assert (last["loss_scaling"], last["num_good_steps"]) == (scaler.scale, scaler.good_steps)
    # A skipped update counts as a step: the rate goes on.
    assert [r["lr"] for r in records] == [overflowed.schedule.rate(step) for step in range(1, 13)]
    found = scaler_report(read_log(overflowed.plan.folder / METRICS), init_scale=TOO_HIGH, growth_steps=1000)
    assert found["skipped_at_least"] == scaler.skipped_steps - 1  # all but the one before the first line


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_the_scaler_is_restored(shards: Path, tmp_path: Path, overflowed: Any, cut: int) -> None:
    trainer = overflowing(shards, tmp_path)
    trainer.run(stop_after(trainer, cut))
    resumed = overflowing(shards, tmp_path)
    assert resumed.state.step == cut
    resumed.run()
    assert fingerprint(resumed.plan) == fingerprint(overflowed.plan)
    assert [(tmp_path / "run" / OVERFLOWS).read_text()] == [(overflowed.plan.folder / OVERFLOWS).read_text()]


def poison(trainer: Any, at: int, value: float = float("nan")) -> None:
    """Make one gradient not finite at step `at`."""
    import paddle

    backward, name = trainer.backward, "roformer.embeddings.word_embeddings.weight"

    def poisoned(step: int, *arguments: Any) -> Any:
        losses = backward(step, *arguments)
        if step == at:
            with paddle.no_grad():
                gradient = trainer.optimizer.gradients()[name]
                paddle.assign(paddle.full_like(gradient, value), gradient)
        return losses

    trainer.backward = poisoned


def test_a_gradient_of_nan_is_skipped_while_the_scale_can_fall_and_ends_the_run_when_it_cannot(
    shards: Path, tmp_path: Path
) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path, **HALF)))
    poison(trainer, at=5)
    trainer.run(stop_after(trainer, 6))
    assert [r["tensor"] for r in read_records(trainer.plan.folder / OVERFLOWS)] == [
        "gradient of roformer.embeddings.word_embeddings.weight"
    ]
    trainer = new_trainer(trainer.plan)
    trainer.state = replace(trainer.state, scaler=replace(trainer.state.scaler, scale=1.0))
    poison(trainer, at=8)
    with pytest.raises(DivergenceError, match=r"step 8, samples \d+ \(synthetic.txt:\d+\).*loss scale 1.0"):
        trainer.run()
    found, damaged = newest_valid(trainer.plan.folder)
    assert found is not None and found.step == 6 and damaged == []
    assert all(np.isfinite(tensor).all() for tensor in (*found.model().values(), *found.optimizer().values()))


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "LEAST", 4)


def with_spike(trainer: Any, at: int) -> Any:
    """Report a loss of 1,000 more at step `at`."""
    import paddle

    backward = trainer.backward

    def spiking(step: int, *arguments: Any) -> Any:
        losses = backward(step, *arguments)
        return losses + paddle.to_tensor([1000.0, 0.0, 0.0]) if step == at else losses

    trainer.backward = spiking
    return trainer


@pytest.mark.usefixtures("short_memory")
def test_a_spike_is_reported_with_its_samples(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = with_spike(new_trainer(tiny_plan(tiny_config(shards, tmp_path))), at=8)
    trainer.run()
    (spike,) = read_records(trainer.plan.folder / SPIKES)
    first = trainer.batches.first_number(8)
    ids = [i for number in (first, first + 1) for i in trainer.batches.make(number)["sample_ids"].tolist()]
    assert (spike["step"], [s["sample_id"] for s in spike["samples"]]) == (8, ids)
    assert all(s["source"].startswith("synthetic.txt:") and s["data_set"] == "tiny" for s in spike["samples"])
    assert spike["loss"] > 1000 > spike["limit"] > spike["median"]
    assert "the loss of step 8 is a spike" in capsys.readouterr().out
    assert trainer.state.rollbacks == 0


def rolling(shards: Path, out: Path, **changes: Any) -> Any:
    config = tiny_config(shards, out, **{"rollback_on_spike": 1, "keep": 20} | changes)
    return with_spike(new_trainer(tiny_plan(config)), at=8)


@pytest.mark.usefixtures("short_memory")
def test_a_rollback_gives_up_what_came_after_the_last_good_checkpoint(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = rolling(shards, tmp_path / "whole")
    trainer.run()
    assert "rolled back to step-00000006 (1 of 1): the updates of steps 7 to 8 are given up" in capsys.readouterr().out
    assert read_records(trainer.plan.folder / ROLLBACKS) == [
        {"step": 8, "to_step": 6, "steps_left_out": [7, 8], "positions_left_out": [48, 64], "samples_left_out": 16}
    ]
    assert same(weights(trainer.plan, 6), weights(trainer.plan, 8))
    assert trainer.state.rollbacks == 1 and trainer.state.step == 12
    for cut in (7, 8):  # 7 saves a checkpoint that is not on the schedule: it must not be the one that is gone back to
        again = rolling(shards, tmp_path / f"cut{cut}")
        again.run(stop_after(again, cut))
        resumed = rolling(shards, tmp_path / f"cut{cut}")
        resumed.run()
        assert fingerprint(resumed.plan) == fingerprint(trainer.plan)
        assert read_records(resumed.plan.folder / ROLLBACKS) == read_records(trainer.plan.folder / ROLLBACKS)


@pytest.mark.usefixtures("short_memory")
def test_the_checkpoint_to_go_back_to_is_kept_whatever_keep_says(shards: Path, tmp_path: Path) -> None:
    trainer = rolling(shards, tmp_path, keep=1)
    trainer.run(stop_after(trainer, 7))
    assert sorted(p.name for p in (trainer.plan.folder / "checkpoints").iterdir()) == ["step-00000006", "step-00000007"]
    resumed = rolling(shards, tmp_path, keep=1)
    resumed.run()
    assert read_records(resumed.plan.folder / ROLLBACKS)[0]["to_step"] == 6


def test_a_loss_that_is_not_finite_is_rolled_back_too_as_long_as_it_is_allowed(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path, rollback_on_spike=1)))
    poison(trainer, at=5)
    poison(trainer, at=11)
    with pytest.raises(DivergenceError, match="step 11"):
        trainer.run()
    assert [r["to_step"] for r in read_records(trainer.plan.folder / ROLLBACKS)] == [3]
    assert [r["skipped"] for r in read_records(trainer.plan.folder / OVERFLOWS)] == [False, False]


def test_before_the_first_checkpoint_there_is_nothing_to_go_back_to(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path, rollback_on_spike=1)))
    poison(trainer, at=2)
    with pytest.raises(DivergenceError, match="step 2"):
        trainer.run()


@pytest.fixture(scope="module")
def stable(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    """A run at a constant rate."""
    plan = tiny_plan(tiny_config(shards, tmp_path_factory.mktemp("stable"), lr_schedule="constant", keep=20))
    new_trainer(plan).run()
    return plan


def cooling(shards: Path, out: Path, ckpt: Path, **changes: Any) -> TrainConfig:
    changes = {"max_steps": 12, "lr_schedule": "wsd", "cooldown_from": str(ckpt)} | changes
    return tiny_config(shards, out, **changes)


def test_a_cooldown_goes_on_from_the_full_state_and_decays(shards: Path, tmp_path: Path, stable: TrainingPlan) -> None:
    plan = tiny_plan(cooling(shards, tmp_path, step_folder(stable.folder, 9)))
    trainer = new_trainer(plan)
    assert trainer.state.step == 9 and same(trainer.optimizer.state(), step_optimizer(stable, 9))
    rates = [trainer.schedule.rate(step) for step in (9, 10, 11, 12)]
    assert rates == pytest.approx([1e-2, 7e-3, 4e-3, 1e-3])
    trainer.run(stop_after(trainer, 10))
    resumed = new_trainer(plan)
    assert resumed.state.step == 10
    resumed.run()
    whole = tiny_plan(cooling(shards, tmp_path / "whole", step_folder(stable.folder, 9)))
    new_trainer(whole).run()
    assert fingerprint(plan) == fingerprint(whole) != fingerprint(stable)


def step_optimizer(plan: TrainingPlan, step: int) -> Any:
    return load_weights(step_folder(plan.folder, step) / "optimizer.safetensors")


def test_what_cannot_be_cooled_down_is_refused(shards: Path, tmp_path: Path, stable: TrainingPlan) -> None:
    ckpt = step_folder(stable.folder, 9)
    with pytest.raises(UsageError, match="leaves no step to cool down in"):
        tiny_plan(cooling(shards, tmp_path, ckpt, max_steps=9))
    with pytest.raises(MismatchError, match=r"max_lr.*0.01.*0.02"):
        new_trainer(tiny_plan(cooling(shards, tmp_path, ckpt, max_lr=2e-2)))
    with pytest.raises(MismatchError, match=r"seed differs.*0.*5"):
        new_trainer(tiny_plan(cooling(shards, tmp_path, ckpt, seed=5)))
    linear = new_trainer(tiny_plan(tiny_config(shards, tmp_path / "linear")))
    linear.run(stop_after(linear, 3))
    with pytest.raises(MismatchError, match="only a wsd or constant schedule"):
        new_trainer(tiny_plan(cooling(shards, tmp_path, linear.plan.folder)))


def test_a_budget_of_time_fixes_the_last_step_once(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretrain.budget import Budget

    monkeypatch.setattr(Budget, "last_step", lambda self, step: step + 4)
    timed = {"max_hours": 1.0, "max_steps": None, "warmup_steps": 10}
    plan = tiny_plan(tiny_config(shards, tmp_path / "timed", **timed))
    trainer = new_trainer(plan)
    trainer.run(stop_after(trainer, 12))
    assert "the schedule ends at step 14" in capsys.readouterr().out
    monkeypatch.setattr(Budget, "last_step", lambda self, step: pytest.fail("it is fixed already"))
    resumed = new_trainer(plan)
    assert (resumed.state.step, resumed.state.horizon) == (12, 14)
    result = resumed.run()
    assert result.step == 14
    fixed = tiny_plan(tiny_config(shards, tmp_path / "fixed", max_steps=14, warmup_steps=10))
    new_trainer(fixed).run()
    assert same(weights(plan, 14), weights(fixed, 14))
