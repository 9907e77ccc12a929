"""Micro-batches come in order from any number of processes, and what goes wrong in one is raised where it is asked for."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretrain.distributed import World, world_of_environment
from pretrain.epoch_check import EpochCheck
from pretrain.loader import Loader, MicroBatches
from pretrain.plan import TrainingPlan
from shards.errors import IntegrityError, NotFoundError, UsageError
from tests.helpers.commands import ROOT
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import start_paddle, tiny_config, tiny_plan


@pytest.fixture
def plan(tmp_path: Path) -> TrainingPlan:
    for name, seed in (("a", 1), ("b", 2)):
        write_tiny_data(tmp_path / "shards" / name, rows=20, seed=seed)
    return tiny_plan(tiny_config(tmp_path / "shards", tmp_path / "runs"))


def micro_batches(plan: TrainingPlan) -> MicroBatches:
    return MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=4)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_from_the_one_asked_for(plan: TrainingPlan, workers: int) -> None:
    start_paddle()
    batches = micro_batches(plan)
    loader = Loader(batches, first=7, end=12, workers=workers)
    for number in range(7, 12):
        found, expected = loader.next(), batches.make(number)
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name].numpy(), array)
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_reading_is_raised_by_next_with_its_kind(
    plan: TrainingPlan, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    start_paddle()
    for shard in (plan.data_sets[0].path).glob("train-*"):
        shard.unlink()
    loader = Loader(micro_batches(plan), first=0, end=4, workers=workers)
    try:
        with pytest.raises(NotFoundError, match=r"train-00000000-0000[01]\.arrow: shard is missing"):
            for _ in range(4):
                loader.next()
    finally:
        loader.close()
    assert "Traceback" not in capfd.readouterr().err


def test_closing_early_ends_the_workers(plan: TrainingPlan) -> None:
    start_paddle()
    before = len(multiprocessing.active_children())
    loader = Loader(micro_batches(plan), first=0, end=10**9, workers=2)
    loader.next()
    running = len(multiprocessing.active_children())
    loader.close()
    assert (running, len(multiprocessing.active_children())) == (before + 2, before)


def test_a_process_that_forgets_to_close_ends_all_the_same(plan: TrainingPlan) -> None:
    code = (
        "from pathlib import Path\n"
        "from tests.helpers.tiny_training import start_paddle, tiny_config, tiny_plan\n"
        "from pretrain.loader import Loader, MicroBatches\n"
        "start_paddle()\n"
        f"plan = tiny_plan(tiny_config(Path({plan.config.shards!r}), Path('runs')))\n"
        "loader = Loader(MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=4), first=0, end=9, workers=2)\n"
        "loader.next()\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=200)
    assert done.returncode == 3


def test_every_sample_knows_its_data_set(plan: TrainingPlan) -> None:
    batches = micro_batches(plan)
    made = [batches.make(number) for number in range(10)]
    sets = np.concatenate([batch["set_index"] for batch in made])
    assert sorted(sets.tolist()) == [0] * 20 + [1] * 20
    assert sum(int(batch["counts"][1]) for batch in made) == 40


def test_the_check_of_an_epoch_adds_ranks_and_checkpoints_up(plan: TrainingPlan) -> None:
    batches = micro_batches(plan)
    made = [batches.make(number) for number in range(10)]
    whole = EpochCheck(batches.sampler, World())
    for batch in made[:6]:
        whole.add(batch["epochs"], batch["set_index"], batch["sample_ids"])
    resumed = EpochCheck(batches.sampler, World(), step=3, start=whole.so_far())
    for batch in made[6:]:
        resumed.add(batch["epochs"], batch["set_index"], batch["sample_ids"])
    resumed.check(5)
    missing = EpochCheck(batches.sampler, World(), step=3, start=whole.so_far())
    for batch in made[7:]:
        missing.add(batch["epochs"], batch["set_index"], batch["sample_ids"])
    with pytest.raises(IntegrityError, match="epoch 0 did not read every sample exactly once"):
        missing.check(5)
    with pytest.raises(IntegrityError, match=r"checkpoint of step 2: the samples of data set '[ab]' consumed so far"):
        EpochCheck(batches.sampler, World(), step=2, start=whole.so_far())


def test_a_launchers_variables_are_read_and_checked() -> None:
    assert world_of_environment({}) == World()
    given = {"PADDLE_TRAINER_ID": "3", "PADDLE_TRAINERS_NUM": "8", "PADDLE_LOCAL_RANK": "1", "PADDLE_LOCAL_SIZE": "2"}
    assert world_of_environment(given) == World(rank=3, size=8, local_rank=1, local_size=2)
    for wrong in ({"PADDLE_TRAINER_ID": "one"}, {"PADDLE_TRAINER_ID": "2", "PADDLE_TRAINERS_NUM": "2"}):
        with pytest.raises(UsageError, match="PADDLE_TRAINER_ID"):
            world_of_environment(wrong)


def test_more_processes_than_samples_are_refused(plan: TrainingPlan) -> None:
    with pytest.raises(UsageError, match="9 processes without a sample"):
        replace(plan.config, micro_batch=None).micro_batch_on(9)
    with pytest.raises(UsageError, match=r"--micro-batch 4.*at most 2"):
        plan.config.micro_batch_on(4)
