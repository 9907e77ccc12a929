"""Two processes and one train the same: sharded or not, with the batch cut up in any way, going on from each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.checkpoint import step_folder, verify_checkpoint
from pretrain.config import ModelConfig
from pretrain.distributed import launch
from pretrain.sharding import owners
from shards.errors import UsageError
from tests.helpers.commands import ROOT
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_network, tiny_plan
from tests.helpers.two_ranks import STEPS, elastic_plan, stop_at, together, with_digests


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def out(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind; they went on with a run of one process, see `tests.helpers.two_ranks`."""
    folder = tmp_path_factory.mktemp("out")
    trainer = new_trainer(elastic_plan(shards, folder))
    trainer.run(stop_at(trainer, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        assert launch([str(shards), str(folder)], processes=2, module="tests.helpers.two_ranks") == 0
    return folder


def test_sharding_changes_no_byte_of_a_checkpoint(out: Path) -> None:
    plain, sharded = (verify_checkpoint(step_folder(out / name, STEPS)) for name in ("plain", "sharded"))
    assert plain.fingerprint == sharded.fingerprint


def test_a_sharded_run_goes_on_unsharded_in_one_process(shards: Path, out: Path) -> None:
    config = tiny_config(shards, out, name="branch", max_steps=STEPS, save_steps=3, resume=str(step_folder(out / "sharded", 4)))
    trainer = new_trainer(tiny_plan(config))
    assert trainer.state.step == 4
    assert trainer.run().step == STEPS


def test_one_process_then_two_then_one_see_the_batches_of_one(shards: Path, out: Path, tmp_path: Path) -> None:
    alone: dict[int, list[str]] = {}
    with_digests(new_trainer(elastic_plan(shards, tmp_path)), alone).run()
    later: dict[int, list[str]] = {}
    trainer = with_digests(new_trainer(elastic_plan(shards, out)), later)
    assert trainer.state.step == 5
    trainer.run()
    of_two = together(out, 2)
    assert list(of_two) == [3, 4, 5]
    assert of_two | later == {step: digests for step, digests in alone.items() if step > 2}
    assert all(len(digests) == len(set(digests)) == 8 for digests in alone.values())


@pytest.mark.slow
def test_one_process_two_four_and_one_again_see_the_batches_of_one(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: dict[int, list[str]] = {}
    with_digests(new_trainer(elastic_plan(shards, tmp_path / "alone")), alone).run()
    seen: dict[int, list[str]] = {}
    first = with_digests(new_trainer(elastic_plan(shards, tmp_path)), seen)
    first.run(stop_at(first, 2))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for ranks, step in ((2, 4), (4, 6)):
        arguments = [str(shards), str(tmp_path), str(step)]
        assert launch(arguments, processes=ranks, module="tests.helpers.two_ranks") == 0
        seen |= together(tmp_path, ranks)
    with_digests(new_trainer(elastic_plan(shards, tmp_path)), seen).run()
    assert seen == alone and list(seen) == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_four_processes_start_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    codes = [launch([], processes=4, module="tests.helpers.start_ranks") for _ in range(8)]
    assert codes == [0] * 8  # with fleet's other groups, one of four starts failed


def gradients(
    shards: Path, out: Path, micro_batch: int, *, network: ModelConfig | None = None, **changes: object
) -> dict[str, Any]:
    """Return the gradients of step 1, 32 samples; without dropout unless a network is given."""
    config = tiny_config(shards, out, global_batch=32, micro_batch=micro_batch, **changes)
    trainer = new_trainer(tiny_plan(config, network or tiny_network(dropout=0.0)))
    found: dict[str, Any] = {}

    def keep(*_: Any) -> None:
        found.update({name: g.numpy() for name, g in trainer.optimizer.gradients().items()})
        raise StopIteration

    trainer.optimizer.update = keep
    with pytest.raises(StopIteration):
        trainer.run()
    return found


def test_32_samples_have_one_gradient_at_once_in_parts_and_over_two_processes(shards: Path, out: Path, tmp_path: Path) -> None:
    whole = gradients(shards, tmp_path / "32", 32)
    assert max(float(np.abs(g).max()) for g in whole.values()) > 1e-2
    with np.load(out / "gradients.npz") as of_two:
        cut_up = {
            "2 x 16": gradients(shards, tmp_path / "16", 16),
            "4 x 8": gradients(shards, tmp_path / "8", 8),
            "two": dict(of_two),
        }
    for how, found in cut_up.items():
        assert set(found) == set(whole)
        for name, gradient in whole.items():
            np.testing.assert_allclose(found[name], gradient, atol=1e-6, rtol=0, err_msg=f"{how}: {name}")


def test_gradients_are_summed_once_a_step_behind_the_last_micro_batch(shards: Path, out: Path, tmp_path: Path) -> None:
    sums = json.loads((out / "sums.json").read_text())
    weights = new_trainer(tiny_plan(tiny_config(shards, tmp_path))).weight_count
    assert len([size for size in sums if size >= weights]) == 1, "four micro-batches on each of two ranks, and one sum"


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_shares_of_sharding_are_even_and_leave_nobody_out(ranks: int) -> None:
    sizes = {f"w{i}": (i % 5 + 1) * 100 for i in range(40)}
    owner = owners(sizes, ranks)
    load = [sum(sizes[name] for name, rank in owner.items() if rank == r) for r in range(ranks)]
    assert set(owner) == set(sizes)
    assert max(load) - min(load) <= max(sizes.values())


@pytest.mark.parametrize("objective", ["mlm-sop", "rtd"])
def test_recomputing_gives_the_same_gradients_with_dropout_on(shards: Path, tmp_path: Path, objective: str) -> None:
    kept, recomputed = (
        gradients(shards, tmp_path / str(recompute), 16, network=tiny_network(), recompute=recompute, objective=objective)
        for recompute in (False, True)
    )
    for name, gradient in kept.items():
        np.testing.assert_allclose(recomputed[name], gradient, atol=1e-6, rtol=0, err_msg=name)


def test_recomputing_reaches_every_block(shards: Path, tmp_path: Path) -> None:
    trainer = new_trainer(tiny_plan(tiny_config(shards, tmp_path)))
    from pretrain.recompute import recompute_blocks

    assert recompute_blocks(trainer.network) == 2


def test_stage_2_is_refused_with_the_reason(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--sharding must be 0 or 1, got 2.*GPU only in paddle 3\.3"):
        tiny_config(shards, tmp_path, sharding=2)
