"""``python -m pretrain.verify_resume``: a run killed by SIGKILL and resumed is the run that was left alone; and it would show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pretrain.checkpoint import Checkpoint, step_folder, verify_checkpoint
from pretrain.run_comparison import compare_checkpoints, compare_runs
from tests.helpers.commands import error_of, run
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

FLAGS = ("--model", "roformer-tiny", "--global-batch", "8", "--eval-steps", "3", "--max-lr", "1e-3", "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_tiny_data(folder / "shards" / "tiny", shortest=4)
    return folder


def test_killed_and_resumed_is_the_same_and_nothing_is_left_behind(place: Path) -> None:
    length = ("--max-steps", "9", "--steps", "6", "--kill-at", "4")
    ran = run("pretrain.verify_resume", *FLAGS, "--packing", *length, "--json", cwd=place)
    assert ran.code == 0, ran.err
    figures = ran.json["figures"]
    assert figures["same"] is True and figures["resumed_from"] in (2, 4)
    assert all(row["compared"] for row in figures["table"]) and not any(row["different"] for row in figures["table"])
    assert [row["what"] for row in figures["table"]] == [
        "weights", "moments", "beta powers", "scaler", "rest of the state", "samples of (rank, step)", "masks of (rank, step)",
        "log records",
    ]  # fmt: skip
    assert figures["table"][-1]["compared"] == 3 + 2, "a record every second step, and evaluations"
    assert "same bytes" in ran.err
    assert list((place / "runs").iterdir()) == []


@pytest.mark.slow
def test_two_sharded_processes_pass_as_well(place: Path) -> None:
    ran = run("pretrain.verify_resume", *FLAGS, "--steps", "6", "--nproc", "2", "--sharding", "1", "--json", cwd=place)
    assert ran.code == 0, ran.err
    figures = ran.json["figures"]
    assert figures["same"] is True and figures["ranks"] == 2
    assert next(row for row in figures["table"] if row["what"].startswith("masks"))["compared"] == 12


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--steps", "6", "--kill-at", "6"], 2, ["--kill-at", "1 to 5", "got 6"]),
        (["--steps", "600"], 2, ["--steps 600", "at most"]),
        (["--max-hours", "1"], 2, ["--max-hours", "clock"]),
        (["--resume", "never"], 2, ["--resume never"]),
        (["--model", "nonsense"], 2, ["nonsense", "Known"]),
    ],
)
def test_mistakes_are_one_line_and_train_nothing(place: Path, flags: list[str], code: int, words: list[str]) -> None:
    error_of(run("pretrain.verify_resume", *flags, cwd=place), code, *words)


@pytest.fixture(scope="module")
def pair(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the command makes it, of two equal runs."""
    work = tmp_path_factory.mktemp("pair")
    plan = tiny_plan(tiny_config(place / "shards" / "tiny", work, name="whole", max_steps=4, logging_steps=2))
    new_trainer(plan).run()
    shutil.copytree(work / "whole", work / "killed")
    for name, steps in (("whole", (1, 2, 3, 4)), ("killed", (1, 2)), ("resumed", (2, 3, 4))):
        lines = [json.dumps({"step": s, "samples": [s, s + 1], "masks": [f"{s:x}"]}) for s in steps]
        (work / f"{name}-0.jsonl").write_text("\n".join(lines) + "\n")
    return work


def differing(work: Path) -> dict[str, str]:
    return {row.what: row.first for row in compare_runs(work) if row.different}


def test_equal_runs_do_not_differ(pair: Path) -> None:
    assert differing(pair) == {}


@pytest.mark.parametrize("name", ["killed", "resumed"])
def test_a_step_with_another_mask_shows_although_it_was_done_twice(pair: Path, tmp_path: Path, name: str) -> None:
    work = shutil.copytree(pair, tmp_path / "work")
    path = work / f"{name}-0.jsonl"
    path.write_text(
        path.read_text().replace('"step": 2, "samples": [2, 3], "masks": ["2"]', '"step": 2, "samples": [2, 3], "masks": ["x"]')
    )
    assert list(differing(work)) == ["masks of (rank, step)"]


def test_a_step_never_done_shows(pair: Path, tmp_path: Path) -> None:
    work = shutil.copytree(pair, tmp_path / "work")
    path = work / "resumed-0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert list(differing(work)) == ["samples of (rank, step)", "masks of (rank, step)"]


def test_a_log_record_twice_shows(pair: Path, tmp_path: Path) -> None:
    work = shutil.copytree(pair, tmp_path / "work")
    path = work / "killed" / "metrics.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[-1])
    assert list(differing(work)) == ["log records"]


def test_another_trained_state_shows_in_every_part(place: Path, pair: Path, tmp_path: Path) -> None:
    config = tiny_config(place / "shards" / "tiny", tmp_path, max_steps=4, logging_steps=2, seed=1)
    other = new_trainer(tiny_plan(config)).run().checkpoint
    mine: Checkpoint = verify_checkpoint(step_folder(pair / "whole", 4))
    rows = {row.what: row for row in compare_checkpoints(mine, verify_checkpoint(other.path))}
    assert all(rows[what].different for what in ("weights", "moments", "rest of the state"))
    assert "apart" in rows["weights"].first
