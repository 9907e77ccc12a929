"""quickstart from text to report: a short variant of every step in one go, and the real one as a slow test."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from shards.cli import Outcome
from shards.manifest import Manifest
from tests.helpers.commands import run, tree
from workflows.recipes import QuickstartOptions, quickstart
from workflows.run import execute

SHORT = QuickstartOptions(max_steps=6, warmup_steps=1, logging_steps=2, eval_steps=3, epochs=1, seeds=1)
STEPS = [step.name for step in quickstart(Path("quickstart"))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the short variant has run once."""
    place = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        outcome = go(SHORT)
    (place / "outcome.json").write_text(json.dumps({"outputs": outcome.outputs, "figures": outcome.figures}))
    return place


def go(options: QuickstartOptions) -> Outcome:
    out = Path("quickstart")
    return execute("quickstart", quickstart(out, options), out)


def first_outcome(place: Path) -> dict[str, Any]:
    value = json.loads((place / "outcome.json").read_text())
    assert isinstance(value, dict)
    return value


def skipped(figures: Any) -> list[str]:
    return [name for name, entry in figures["steps"].items() if entry["skipped"]]


@pytest.mark.timeout(300)
def test_every_step_runs_and_all_is_below_one_folder(place: Path) -> None:
    first = first_outcome(place)
    assert skipped(first["figures"]) == []
    assert list(first["figures"]["steps"]) == STEPS
    assert first["outputs"] == ["quickstart/report.html"]
    assert sorted(path.name for path in place.iterdir()) == ["outcome.json", "quickstart"]
    out = place / "quickstart"
    assert (out / "shards/sample/manifest.json").is_file()
    assert json.loads((out / "runs/quickstart/run.json").read_text())["state"] == "finished"
    assert len(list(out.glob("results/SST-2/quickstart-*/score.json"))) == 1


def test_the_report_ties_the_score_to_the_text(place: Path) -> None:
    source = (place / "quickstart/report.html").read_text("utf-8")
    manifest = Manifest.read(place / "quickstart/shards/sample")
    score = json.loads(next((place / "quickstart").glob("results/SST-2/*/score.json")).read_text())
    for whole in (manifest.corpus[0].sha256, manifest.recipe_hash, manifest.fingerprint, score["checkpoint_fingerprint"]):
        assert whole in source
    assert "✗" not in source
    assert source.count("✓") == 3
    for words in ("今天", "很好，我想去公园玩！", "The river flows into", "<svg", "Sentence-order loss"):
        assert words in source
    assert str(place) not in source


@pytest.mark.timeout(300)
def test_a_second_call_runs_nothing_and_changes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    before = tree(place / "quickstart")
    outcome = go(SHORT)
    assert skipped(outcome.figures) == STEPS
    assert outcome.figures["report_written"] is False
    assert tree(place / "quickstart") == before


@pytest.mark.timeout(300)
def test_other_sizes_of_the_last_steps_leave_the_first_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    out = Path("quickstart")
    steps = quickstart(out, SHORT)
    changed = tuple(
        step
        if step.name != "samples-zh"
        else type(step)(name=step.name, module=step.module, argv=(*step.argv[:-1], "1"), inputs=step.inputs)
        for step in steps
    )
    outcome = execute("quickstart", changed, out)
    assert skipped(outcome.figures) == [name for name in STEPS if name != "samples-zh"]
    assert outcome.figures["report_written"] is True


@pytest.mark.timeout(300)
def test_a_damaged_data_set_is_built_again_and_changes_nothing_behind_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build is deterministic: the new data set has the old fingerprint, so that training need not run again."""
    monkeypatch.chdir(place)
    shard = next(Path("quickstart/shards/sample").glob("train-*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-8])
    outcome = go(SHORT)
    ran = {name for name, entry in outcome.figures["steps"].items() if not entry["skipped"]}
    assert "build" in ran
    assert not ran & {"pretrain", "finetune"}
    assert shard.read_bytes() == data


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_real_one_learns_and_scores(tmp_path: Path) -> None:
    ran = run("workflows.run", "quickstart", "--json", cwd=tmp_path, timeout_s=1400)
    assert ran.code == 0, ran.err
    results = ran.json["figures"]["results"]
    vocab_size = Manifest.read(tmp_path / "quickstart/shards/sample").tokenizer.vocab_size
    assert results["lm_loss"] < math.log(vocab_size) - 1.0
    assert results["SST-2 acc"] > 0.6
    again = run("workflows.run", "quickstart", "--json", cwd=tmp_path)
    assert again.json["figures"]["steps_run"] == 0
    assert again.json["fingerprint"] == ran.json["fingerprint"]
