"""Training ends when the held-out loss has not fallen for --patience evaluations, at the same step however often it is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretrain.checkpoint import best_checkpoint, list_checkpoints
from pretrain.early_stopping import is_exhausted
from shards.errors import UsageError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

LOSSES = {2: 3.0, 4: 2.0, 6: 2.5, 8: 2.5, 10: 1.0, 12: 1.0}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


def trainer_with_losses(shards: Path, out: Path, **changes: object) -> Any:
    """Return a trainer whose evaluations give `LOSSES`."""
    trainer = new_trainer(tiny_plan(tiny_config(shards, out, eval_steps=2, save_steps=100, **changes)))
    evaluate = trainer._evaluator

    def told(network: object) -> object:
        return replace(evaluate(network), lm_loss=LOSSES[trainer.state.step], sop_loss=0.0)

    trainer._evaluator = told
    return trainer


def test_it_ends_behind_its_patience_with_the_best_kept(shards: Path, tmp_path: Path) -> None:
    result = trainer_with_losses(shards, tmp_path, patience=2, keep=1).run()
    assert (result.step, result.stopped_by) == (8, None)
    assert result.figures["stopped_early"] is True and result.figures["best"] == {"step": 4, "loss": 2.0}
    assert [p.name for p in list_checkpoints(tmp_path / "run")] == ["step-00000008", "step-00000004"]
    assert best_checkpoint(tmp_path / "run") == tmp_path / "run" / "checkpoints" / "step-00000004"


@pytest.mark.parametrize("cut", [3, 6, 7, 8])
def test_stopped_and_resumed_it_ends_at_the_same_step(shards: Path, tmp_path: Path, cut: int) -> None:
    first = trainer_with_losses(shards, tmp_path, patience=2)
    first.run(lambda: 15 if first.state.step >= cut else None)
    assert trainer_with_losses(shards, tmp_path, patience=2).run().step == 8


@pytest.mark.parametrize("patience", [None, 3])
def test_with_more_patience_or_none_it_goes_to_the_end(shards: Path, tmp_path: Path, patience: int | None) -> None:
    result = trainer_with_losses(shards, tmp_path, patience=patience).run()
    assert result.step == 12 and result.figures["stopped_early"] is False


def test_no_finite_loss_is_no_reason_to_stop() -> None:
    assert not is_exhausted(1000, None, eval_steps=1, patience=1)


def test_patience_without_held_out_samples_is_refused(tmp_path: Path) -> None:
    data = write_tiny_data(tmp_path / "none", heldout_rows=0)
    with pytest.raises(UsageError, match="--patience needs held-out samples"):
        tiny_plan(tiny_config(data, tmp_path, patience=1))
