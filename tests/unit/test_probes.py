"""Probes run beside training, one at a time; whatever becomes of one, training goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.checkpoint import Checkpoint, Contents, list_checkpoints, step_folder, write_checkpoint
from pretrain.checkpoint_writer import CheckpointWriter
from pretrain.log_line import append_metrics, cut_metrics, read_metrics
from pretrain.probes import Probes, probe_command
from shards.errors import UsageError
from tests.helpers.commands import ROOT
from tests.helpers.processes import wait_until
from tests.helpers.tiny_training import tiny_network


def contents(step: int) -> Contents:
    return Contents(step=step, model={}, optimizer=None, state={}, config=tiny_network(), tokenizer_files={})


def checkpoint(run: Path, step: int) -> Checkpoint:
    return write_checkpoint(step_folder(run, step), contents(step))


def probes(run: Path, mode: str, *, every: int = 2) -> Probes:
    return Probes(run, ["tests.helpers.stand_in_probe", mode], every=every)


def never() -> None:
    return None


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")


def test_figures_become_records_of_their_step(tmp_path: Path) -> None:
    some = probes(tmp_path, "good")
    for step in (1, 2, 4):
        some.submit(checkpoint(tmp_path, step))
    some.finish(never)
    records = read_metrics(tmp_path)
    assert [r["step"] for r in records] == [2, 4]
    figures = records[0]["probe"]["figures"]
    assert "model.safetensors" in figures["files"] and figures["out"].endswith("probes/step-00000002")
    assert figures["ranks"] is None, "a probe is no member of training's group"
    assert some.spared() == frozenset()


@pytest.mark.parametrize(("mode", "error"), [("crash", "Traceback: it broke"), ("refuse", "error: no such task")])
def test_a_failing_probe_is_reported_and_no_more(
    tmp_path: Path, mode: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    some = probes(tmp_path, mode)
    some.submit(checkpoint(tmp_path, 2))
    some.finish(never)
    assert read_metrics(tmp_path)[0]["probe"]["error"] == error
    assert f"probe step 2, failed: {error}" in capsys.readouterr().out


def test_a_probe_in_hand_is_ended_with_a_signal_and_made_up_for(tmp_path: Path) -> None:
    some = probes(tmp_path, "slow")
    some.submit(made := checkpoint(tmp_path, 2))
    wait_until(lambda: (tmp_path / "begun").exists())
    some.finish(lambda: 15)
    assert read_metrics(tmp_path) == []
    again = probes(tmp_path, "good")
    again.submit(made)
    again.finish(never)
    again.submit(made)
    again.finish(never)
    assert [r["step"] for r in read_metrics(tmp_path)] == [2]


def test_a_checkpoint_stays_while_its_probe_needs_it(tmp_path: Path) -> None:
    some = probes(tmp_path, "slow")
    writer = CheckpointWriter(tmp_path, keep=1, written=some.submit, spared=some.spared)
    for step in (2, 3, 5):
        writer.submit(contents(step))
    writer.wait()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000005", "step-00000002"]
    some.give_up()
    writer.submit(contents(7))
    writer.finish()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000007"]


def test_a_late_result_of_an_early_step_outlives_a_resume(tmp_path: Path) -> None:
    for record in ({"step": 2}, {"step": 6}, {"step": 4, "probe": {}}, {"step": 8}):
        append_metrics(tmp_path, record)
    cut_metrics(tmp_path, 5)
    assert read_metrics(tmp_path) == [{"step": 2}, {"step": 4, "probe": {}}]


@pytest.mark.parametrize("text", ["", "glu --task X", "../glue", "glue --model x", "glue --out=x", 'glue "', "os.system"])
def test_what_is_no_command_of_finetune_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--probe"):
        probe_command(text)


def test_a_command_is_split_as_a_shell_would() -> None:
    assert probe_command('glue --task SST-2 --data-dir "a b"') == ["finetune.glue", "--task", "SST-2", "--data-dir", "a b"]
