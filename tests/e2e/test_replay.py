"""``python -m pretrain.replay`` shows the batches that training saw: any step, epoch, rank, from the run's record alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.errors import RunStateError
from pretrain.loader import MicroBatches
from pretrain.plan import TrainingPlan
from pretrain.replay import build_parser, read_recorded, render, replay_step
from pretrain.run_state import begin_run
from shards.errors import IntegrityError, MismatchError, NotFoundError, UsageError
from shards.manifest import SpecialIds
from tests.helpers.commands import error_of, flags, run
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan


@pytest.fixture
def plan(tmp_path: Path) -> TrainingPlan:
    for name, seed in (("a", 1), ("b", 2)):
        write_tiny_data(tmp_path / "shards" / name, rows=20, seed=seed)
    return tiny_plan(tiny_config(tmp_path / "shards", tmp_path / "runs"))


def record(plan: TrainingPlan, *, ranks: int = 1, **changes: Any) -> Path:
    """Write run.json as `pretrain.run` does, as far as batches go."""
    fields: dict[str, Any] = {
        "config": asdict(plan.config),
        "schedule": asdict(plan.schedule),
        "data": [{"name": s.name, "path": str(s.path), "fingerprint": s.manifest.fingerprint} for s in plan.data_sets],
        "ranks": ranks,
        "micro_batch": plan.config.micro_batch_on(ranks),
        **changes,
    }
    begin_run(plan.folder, fields)
    return plan.folder


def assert_equal(found: Any, expected: Any) -> None:
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_every_batch_of_a_training_is_shown_as_the_network_saw_it(plan: TrainingPlan) -> None:
    trainer = new_trainer(plan)
    seen: dict[int, list[Any]] = {}
    backward = trainer.backward

    def watched(step: int, batches: Any, counts: Any) -> Any:
        seen[step] = [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]
        return backward(step, batches, counts)

    trainer.backward = watched
    trainer.run()
    recorded = read_recorded(record(plan))
    assert sorted(seen) == list(range(1, 13))
    epochs = set()
    for step, batches in seen.items():
        replayed = replay_step(recorded, step)
        assert [(r.rank, r.micro) for r in replayed] == [(0, 0), (0, 1)]
        for found, expected in zip(replayed, batches, strict=True):
            assert_equal(found.arrays, expected)
            epochs |= set(found.arrays["epochs"].tolist())
    assert epochs == {0, 1, 2}


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_rank_of_a_group_sees_its_own_part(plan: TrainingPlan, ranks: int) -> None:
    plan = replace(plan, config=replace(plan.config, micro_batch=2))
    recorded = read_recorded(record(plan, ranks=ranks))
    for step in (1, 5, 6, 12):
        everything = replay_step(recorded, step)
        for rank in range(ranks):
            own = MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=2, rank=rank, ranks=ranks)
            alone = replay_step(recorded, step, rank)
            assert len(alone) == own.per_step
            for i, batch in enumerate(alone):
                assert_equal(batch.arrays, own.make((step - 1) * own.per_step + i))
        ids = np.concatenate([b.arrays["sample_ids"] for b in everything])
        one = MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=8).make(step - 1)
        np.testing.assert_array_equal(ids, one["sample_ids"])


def test_the_command_shows_text_masks_labels_and_sources(plan: TrainingPlan, tmp_path: Path) -> None:
    folder = record(plan, ranks=2)
    ran = run("pretrain.replay", str(folder), "--step", "7", "--rank", "1", "--limit", "3", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    figures = ran.json["figures"]
    assert (figures["sample_count"], len(figures["samples"]), figures["rank"]) == (4, 3, 1)
    assert "1 more samples: --limit 0 shows all" in ran.err
    arrays = replay_step(read_recorded(folder), 7, 1)[0].arrays
    width = arrays["input_ids"].shape[1]
    for i, sample in enumerate(figures["samples"]):
        data_set = plan.data_sets[int(arrays["set_index"][i])]
        assert sample["data_set"] == data_set.name and sample["sample_id"] == arrays["sample_ids"][i]
        rows = data_set.shard(sample["sample_id"] >> 32).take(np.array([sample["row"]], np.int64))
        assert sample["source"] == f"synthetic.txt:{rows.source_row[0]}"
        assert sample["sop_label"] == arrays["sop_labels"][i]
        assert [m["position"] for m in sample["masks"]] == sorted(
            p % width for p in arrays["masked_positions"].tolist() if p // width == i
        )
        stored = sorted(f"word{n - 5}" for n in rows.ids.tolist())
        words = [m["token"] for m in sample["masks"]]
        assert set(words) <= set(stored)
        assert sample["text"].startswith(("[CLS]", "{")) and sample["text"].count("[SEP]") == 2
        for mask in sample["masks"]:
            assert (mask["kind"] == "mask") == (mask["seen"] == "[MASK]")
            assert (mask["kind"] == "kept") == (mask["seen"] == mask["token"])
    everything = run("pretrain.replay", str(folder), "--step", "7", "--limit", "0", cwd=tmp_path)
    assert everything.out.count("synthetic.txt:") == 8 and everything.out.startswith("step 7, 2 ranks: 8 samples")


class Words:
    """A vocabulary of four words, as far as `render` looks."""

    kind = "wordpiece"

    def token(self, token_id: int) -> str:
        return ["[MASK]", "run", "##ning", "天"][token_id]


def test_text_is_joined_as_it_was_written() -> None:
    words: Any = Words()
    assert render([1, 2, 1, 3, 3], {}, words) == "running run天天"
    assert render([0, 2, 1, 3], {0: 1, 1: 2, 2: 3}, words) == "{run→[MASK]}{ning}{天→run}天"


class Pieces:
    """Three byte-level tokens and a special one; the second is half a character."""

    kind = "byte-bpe"
    special_ids = SpecialIds(pad=0, unk=0, cls=0, sep=0, mask=0)

    def token(self, token_id: int) -> str:
        return ["<mask>", "å", "Ġrun", "ning"][token_id]

    def decode(self, ids: list[int]) -> str:
        return "".join(["", "\ufffd", " run", "ning"][i] for i in ids)


def test_byte_level_pieces_bring_their_own_spaces() -> None:
    pieces: Any = Pieces()
    assert render([2, 3, 2, 0, 1], {3: 2}, pieces) == " running run{ run→<mask>}å"


def test_moved_data_are_found_by_their_fingerprint(plan: TrainingPlan, tmp_path: Path) -> None:
    folder = record(plan)
    before = [b.arrays for b in replay_step(read_recorded(folder), 9)]
    (tmp_path / "elsewhere").mkdir()
    # Other names, so another order of folders: the record's order counts.
    shutil.move(tmp_path / "shards" / "a", tmp_path / "elsewhere" / "z")
    shutil.move(tmp_path / "shards" / "b", tmp_path / "elsewhere" / "c")
    with pytest.raises(NotFoundError, match="shards/a"):
        read_recorded(folder)
    after = replay_step(read_recorded(folder, shards=str(tmp_path / "elsewhere")), 9)
    for found, expected in zip(after, before, strict=True):
        assert_equal(found.arrays, expected)


def test_changed_data_are_refused_by_name(plan: TrainingPlan, tmp_path: Path) -> None:
    folder = record(plan)
    shutil.rmtree(tmp_path / "shards" / "b")
    write_tiny_data(tmp_path / "shards" / "b", rows=20, seed=3)
    with pytest.raises(MismatchError, match="data set 'b' is not what the run was trained on"):
        read_recorded(folder)
    with pytest.raises(MismatchError, match="data set 'b'"):
        read_recorded(folder, shards=str(tmp_path / "shards"))
    shard = next((tmp_path / "shards" / "a").glob("train-*-00000.arrow"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    shutil.rmtree(tmp_path / "shards" / "b")
    write_tiny_data(tmp_path / "shards" / "b", rows=20, seed=2)
    with pytest.raises(IntegrityError, match=shard.name):
        for step in range(1, 13):
            replay_step(read_recorded(folder), step)


def test_what_cannot_be_shown_is_refused(plan: TrainingPlan, tmp_path: Path) -> None:
    folder = record(plan, ranks=2)
    recorded = read_recorded(folder)
    for step, rank in ((0, None), (13, None), (1, 2), (1, -1)):
        with pytest.raises(UsageError, match=r"no such (step|rank)"):
            replay_step(recorded, step, rank)
    error_of(run("pretrain.replay", str(tmp_path), "--step", "1", cwd=tmp_path), 5, "no run here")
    error_of(run("pretrain.replay", str(folder), "--step", "99", cwd=tmp_path), 2, "expected 1 to 12", "got 99")
    for change in (
        {"config": {"a_later_option": 1}},
        {"config": None},
        {"data": []},
        {"data": [{}]},
        {"micro_batch": "two"},
        {"schedule": {}},
    ):
        with pytest.raises(RunStateError, match=r"run\.json"):
            read_recorded(record(plan, **change))
    (folder / "run.json").write_text(json.dumps({"state": "running"}))
    with pytest.raises(RunStateError, match="config"):
        read_recorded(folder)


def test_replay_loads_no_paddle(plan: TrainingPlan, tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = record(plan)
    code = f"import sys; from pretrain.replay import main; main([{str(folder)!r}, '--step', '2']); print('paddle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_flags() -> None:
    assert flags(build_parser()) == ["--debug", "--help", "--json", "--limit", "--no-verify", "--rank", "--shards", "--step"]
