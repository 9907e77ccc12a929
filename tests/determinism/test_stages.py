"""Batch size, length and data that change in the middle of a run: the same samples for any cut, ranks or resume."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretrain.checkpoint import step_folder, verify_checkpoint
from pretrain.distributed import World
from pretrain.plan import TrainingPlan
from pretrain.replay import read_recorded, replay_step
from pretrain.run_state import begin_run
from pretrain.sections import staged_batches
from pretrain.stages import parse_stages
from shards.errors import IntegrityError, MismatchError, UsageError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

STAGES = "8x3@16,4x4@32,12x5@32"  # 24 samples of the short set's 24; 16 + 60 of the long set's 48


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tiny_data(folder / "long")
    write_tiny_data(folder / "short", rows=24, max_seq_len=16, seed=1)
    return folder


def staged(data: Path, out: Path, **changes: Any) -> TrainingPlan:
    changes = {"stages": STAGES, "stage_shards": f"16={data / 'short'}", "max_steps": None, "global_batch": 128} | changes
    return tiny_plan(tiny_config(data / "long", out, **changes))


def samples(plan: TrainingPlan, step: int, ranks: int = 1, micro_batch: int = 4) -> list[tuple[int, int]]:
    """Return (set, id) of the samples of a step, in order."""
    found = []
    for rank in range(ranks):
        batches = staged_batches(plan.sections, plan.batches, micro_batch=micro_batch, rank=rank, ranks=ranks)
        for micro in range(batches.micro_batches_of(step)):
            batch = batches.make(batches.first_number(step) + micro)
            found += zip(batch["set_index"].tolist(), batch["sample_ids"].tolist(), strict=True)
    return found


def test_every_stage_takes_its_own_batches_of_its_own_data(data: Path, tmp_path: Path) -> None:
    plan = staged(data, tmp_path)
    assert plan.schedule.max_steps == 12 and [s.name for s in plan.data_sets] == ["short", "long"]
    steps = {step: samples(plan, step) for step in range(1, 13)}
    assert [len(found) for found in steps.values()] == [8] * 3 + [4] * 4 + [12] * 5
    assert {step: {index for index, _ in found} for step, found in steps.items()} == {
        step: {0 if step <= 3 else 1} for step in range(1, 13)
    }
    first_epochs = [s for step in (1, 2, 3) for s in steps[step]], [s for step in range(4, 12) for s in steps[step]][:48]
    assert [len(set(epoch)) for epoch in first_epochs] == [24, 48]


@pytest.mark.parametrize(("ranks", "micro_batch"), [(1, 5), (2, 4), (4, 1)])
def test_ranks_and_micro_batches_change_nothing(data: Path, tmp_path: Path, ranks: int, micro_batch: int) -> None:
    plan = staged(data, tmp_path)
    for step in (1, 3, 4, 7, 8, 12):
        assert samples(plan, step, ranks, micro_batch) == samples(plan, step)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingPlan:
    plan = staged(data, tmp_path_factory.mktemp("whole"))
    assert new_trainer(plan).run().figures["samples_seen"] == 100
    return plan


@pytest.mark.parametrize("cut", [2, 3, 8])
def test_a_resumed_run_ends_with_the_same_bytes(data: Path, tmp_path: Path, whole: TrainingPlan, cut: int) -> None:
    plan = staged(data, tmp_path)
    first = new_trainer(plan)
    first.run(lambda: signal.SIGTERM if first.state.step >= cut else None)
    new_trainer(plan).run()
    ends = [verify_checkpoint(step_folder(p.folder, 12)).fingerprint for p in (plan, whole)]
    assert ends[0] == ends[1]


def test_a_lost_sample_is_found_in_every_section(data: Path, tmp_path: Path) -> None:
    for step in (2, 5):  # the short set's epoch ends with step 3, the long one's with step 10
        trainer = new_trainer(staged(data, tmp_path / str(step)))
        make, number = trainer.batches.make, trainer.batches.first_number(step)

        def doubled(n: int, make: Any = make, number: int = number) -> Any:
            batch = make(n)
            if n == number:
                batch["sample_ids"][0] = batch["sample_ids"][1]
            return batch

        trainer.batches.make = doubled
        with pytest.raises(IntegrityError, match=f"{'short' if step == 2 else 'long'}.*sample sum"):
            trainer.run()


def test_replay_shows_the_batches_of_every_stage(data: Path, tmp_path: Path) -> None:
    from dataclasses import asdict

    from pretrain.run import _record_fields

    plan = staged(data, tmp_path)
    plan.folder.mkdir(parents=True)
    begin_run(plan.folder, _record_fields(plan, [], World(), device="cpu", micro_batch=4, step=0))
    assert asdict(plan.config)["stages"] == STAGES
    recorded = read_recorded(plan.folder)
    for step in (3, 4, 12):
        shown = [i for batch in replay_step(recorded, step) for i in batch.arrays["sample_ids"].tolist()]
        assert shown == [sample_id for _, sample_id in samples(plan, step)]


def test_nothing_is_cut_silently(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'long'.*from step 1 is shorter.*at most 16 tokens, got 32.*--stage-shards 16=PATH"):
        staged(data, tmp_path, stage_shards=None)
    with pytest.raises(UsageError, match=r"'long'.*from step 4 is shorter.*at most 31 tokens"):
        staged(data, tmp_path, stages="8x3@16,4x4@31")


def test_stages_of_another_tokenizer_are_refused(data: Path, tmp_path: Path) -> None:
    write_tiny_data(tmp_path / "other", max_seq_len=16, vocabulary="other")
    with pytest.raises(MismatchError, match="different tokenizers"):
        staged(data, tmp_path, stage_shards=f"16={tmp_path / 'other'}")


def test_changed_stages_are_refused_at_resume(data: Path, tmp_path: Path) -> None:
    plan = staged(data, tmp_path)
    trainer = new_trainer(plan)
    trainer.run(lambda: signal.SIGTERM if trainer.state.step >= 2 else None)
    changed = tiny_plan(replace(plan.config, stages="8x3@16,6x4@32,12x5@32"))
    with pytest.raises(MismatchError, match="stages differs"):
        new_trainer(changed)


def test_the_syntax_of_stages() -> None:
    first, second = parse_stages("128x300k@512, 256x1M@128", "128=shards/short")
    assert (first.first_step, first.steps, first.global_batch, first.length, first.shards) == (1, 300_000, 128, 512, None)
    assert (second.first_step, second.steps, second.shards) == (300_001, 1_000_000, "shards/short")
