"""Settings and seeds as jobs: kept when finished, gone on with, equal wherever they run; and what training may start from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from finetune.glue import main
from tests.helpers.tiny_finetune import make_run, sample_words

FAST = ["--data", "sample", "--max-train-rows", "64", "--batch-size", "16", "--max-seq-len", "32", "--engine", "local"]
SST2 = ["--task", "SST-2", *FAST, "--epochs", "4", "--learning-rate", "3e-3"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretrain import environment

    environment.start("cpu")
    folder = tmp_path_factory.mktemp("work")
    make_run(folder, "toy", sample_words())
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("WORDLOOM_DATA", raising=False)


def rows_below(out: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(out).glob("*/*/score.json"))]


def log_steps(text: str) -> int:
    return len(re.findall(r"^global step", text, re.MULTILINE))


def test_ray_and_this_process_give_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    grid = [*SST2, "--learning-rate", "1e-3,3e-3", "--seeds", "2"]
    assert main([*grid, "--out", "local"]) == 0
    capsys.readouterr()
    assert main([*grid, "--engine", "ray", "--out", "ray"]) == 0
    out = capsys.readouterr().out
    assert "engine: ray" in out and "4 of 4" in out and log_steps(out) == 0
    assert len(rows_below("ray")) == 2
    assert rows_below("local") == rows_below("ray")
    (grid_file,) = Path("ray").glob("SST-2/grid-*.json")
    record = json.loads(grid_file.read_text(encoding="utf-8"))
    means = {entry["path"]: entry["mean"]["acc"] for entry in record["rows"]}
    assert means[record["best"]] == max(means.values())
    assert "dev" in record["selection"]


def test_a_finished_job_is_not_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SST2, "--out", "kept"]) == 0
    first = capsys.readouterr().out
    assert log_steps(first) == 4
    assert main([*SST2, "--out", "kept", "--seeds", "3"]) == 0
    then = capsys.readouterr().out
    assert "1 of 3 jobs were finished before" in then
    assert log_steps(then) == 8
    assert main([*SST2, "--out", "fresh", "--seeds", "0,1,2"]) == 0
    kept = [row for row in rows_below("kept") if len(row["seeds"]) == 3]
    assert kept == rows_below("fresh")
    capsys.readouterr()
    assert main([*SST2, "--out", "kept", "--rerun"]) == 0
    assert log_steps(capsys.readouterr().out) == 4
    # the model beside a row is that of its best seed, and made again where it was not kept
    assert main([*SST2, "--out", "fresh", "--seeds", "1,2"]) == 0
    for row, path in [(json.loads(p.read_text()), p) for p in sorted(Path("fresh").glob("*/*/score.json"))]:
        state = json.loads((path.parent / "model" / "state.json").read_text(encoding="utf-8"))
        assert (state["seed"], state["labels"]) == (row["best"]["seed"], ["0", "1"])


def test_a_failing_setting_takes_no_other_with_it_and_a_grid_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    grid = [*SST2, "--learning-rate", "1e30,3e-3", "--epochs", "2", "--out", "failing"]
    assert main(grid) == 23
    assert "1 of 2 jobs failed; the others are kept" in capsys.readouterr().out
    assert [row["settings"]["learning_rate"] for row in rows_below("failing")] == [3e-3]
    (job,) = Path("failing").glob("SST-2/jobs/*/job.json")
    job.write_text(job.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert main([*SST2, "--epochs", "2", "--out", "failing"]) == 0
    assert "so the job is run again" in capsys.readouterr().out


def test_random_weights_are_labelled_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SST2, "--random-weights", "--out", "random"]) == 0
    out = capsys.readouterr().out
    assert "model: random weights, in the network and with the tokenizer of" in out and "no data set: random weights" in out
    (row,) = rows_below("random")
    assert (row["weights"], row["model"]) == ("random", "toy-random")
    assert main([*SST2, "--out", "random"]) == 0
    others = [row for row in rows_below("random") if row["weights"] != "random"]
    assert len(others) == 1 and others[0]["checkpoint_fingerprint"] != row["checkpoint_fingerprint"]


def test_a_fine_tuned_model_lends_its_encoder_and_its_head_where_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SST2, "--out", "lender"]) == 0
    (lender,) = Path("lender").glob("SST-2/*/score.json")
    capsys.readouterr()
    assert main([*SST2, "--init-from", str(lender), "--learning-rate", "1e-9", "--out", "same"]) == 0
    (row,) = rows_below("same")
    assert row["weights"] == "fine-tuned"
    assert row["mean"]["acc"] == pytest.approx(json.loads(lender.read_text())["best"]["acc"])  # as nothing was learned
    assert "is left behind" not in capsys.readouterr().out
    rte = tmp_path / "RTE"
    rte.mkdir()
    lines = "index\tsentence1\tsentence2\tlabel\n" + "0\ta good film\ta film\tentailment\n1\tdull\tfilm\tnot_entailment\n" * 4
    for name in ("train.tsv", "dev.tsv"):
        (rte / name).write_text(lines, encoding="utf-8")
    command = ["--task", "RTE", "--data-dir", str(rte), "--epochs", "1", "--max-seq-len", "32", "--out", str(tmp_path / "out")]
    assert main([*command, "--init-from", str(lender.parent)]) == 0
    assert "the head of SST-2 is left behind" in capsys.readouterr().out
    assert main([*command, "--init-from", str(lender), "--model", "runs/toy"]) == 2
    assert main([*command, "--init-from", "runs/toy"]) == 8
    assert "pretrained, not fine-tuned" in capsys.readouterr().err


def test_the_recipe_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = [
        "--lr-schedule",
        "constant",
        "--warmup",
        "0",
        "--layer-decay",
        "0.8",
        "--label-smoothing",
        "0.1",
        "--pooling",
        "mean",
    ]
    recipe += ["--dropout", "0.2", "--encoder-dropout", "0", "--grad-clip", "0", "--length-window", "1"]
    assert main([*SST2, *recipe, "--out", "recipe"]) == 0
    rates = re.findall(r"lr: (\d\.\d+),", capsys.readouterr().out)
    assert set(rates) == {"0.0030000000"}
    (row,) = rows_below("recipe")
    assert row["settings"]["pooling"] == "mean" and row["settings"]["layer_decay"] == 0.8
    assert main([*SST2, "--patience", "1", "--epochs", "40", "--learning-rate", "1e-8", "--out", "early"]) == 0
    out = capsys.readouterr().out
    assert "stopped early after step 8: 1 evaluations since the best one, of step 4" in out
    assert "chosen on dev" in out
    (row,) = rows_below("early")
    assert row["selection"].startswith("on dev") and row["runs"][0]["steps"] == 8


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--seeds", "1,1"], 2, "--seeds is a count"),
        (["--seeds", "two"], 2, "--seeds is a count"),
        (["--amp", "O1", "--device", "cpu"], 26, "needs a GPU"),
        (["--random-weights", "--init-from", "x"], 2, "two starts"),
        (["--init-from", "nowhere"], 5, "nowhere"),
        (["--workers", "0"], 2, "--workers must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SST2, *options, "--out", "refused"]) == code
    assert words in capsys.readouterr().err
    assert not list(Path("refused").rglob("score.json"))


def test_a_list_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*SST2, "--learning-rate", "1e-3,x"])
    assert "invalid list of float value" in capsys.readouterr().err
