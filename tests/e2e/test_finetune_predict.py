"""A fine-tuned model at work, and the table of score rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune import glue, predict, table
from tests.helpers.tiny_finetune import make_run, sample_words

TRAIN = ["--task", "SST-2", "--data", "sample", "--max-seq-len", "32", "--batch-size", "16", "--engine", "local"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretrain import environment

    environment.start("cpu")
    folder = tmp_path_factory.mktemp("work")
    make_run(folder, "toy", sample_words())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert glue.main([*TRAIN, "--epochs", "4", "--learning-rate", "3e-3"]) == 0
        random = ["--random-weights", "--max-train-rows", "32", "--epochs", "1", "--learning-rate", "1e-3,2e-3", "--seeds", "2"]
        assert glue.main([*TRAIN, *random]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)


@pytest.fixture
def model(workspace: Path) -> str:
    (path,) = (p.parent for p in Path("results").glob("SST-2/toy-*/score.json") if "random" not in p.parent.name)
    return str(path)


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predictions_are_those_that_were_scored(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.sample import sample_folder

    dev = sample_folder() / "dev.tsv"
    out = tmp_path / "out.tsv"
    assert predict.main(["--model", model, "--input", str(dev), "--output", str(out)]) == 0
    header, *rows = [line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()]
    assert header == ["label", "p(0)", "p(1)"]
    names, *truth = [line.split("\t") for line in dev.read_text(encoding="utf-8").splitlines()]
    right = [row[0] == true[names.index("label")] for row, true in zip(rows, truth, strict=True)]
    best = json.loads((Path(model) / "score.json").read_text(encoding="utf-8"))["best"]["acc"]
    assert sum(right) / len(right) == pytest.approx(best)
    assert all(float(row[1]) + float(row[2]) == pytest.approx(1.0, abs=1e-5) for row in rows)
    capsys.readouterr()

    text = truth[0][names.index("sentence")]
    assert predict.main(["--model", f"{model}/score.json", "--text", text]) == 0
    (one,) = said(capsys)
    assert one["label"] == rows[0][0]
    assert one["probabilities"]["1"] == pytest.approx(float(rows[0][2]), abs=1e-5)
    (tmp_path / "in.txt").write_text(f"{text}\n{text}\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(json.dumps({"t": text}) + "\n", encoding="utf-8")
    assert predict.main(["--model", f"{model}/model", "--input", str(tmp_path / "in.txt")]) == 0
    assert predict.main(["--model", model, "--input", str(tmp_path / "in.jsonl"), "--columns", "t"]) == 0
    assert [row["label"] for row in said(capsys)] == [one["label"]] * 3


@pytest.mark.parametrize(
    ("name", "content", "options", "code", "words"),
    [
        ("a.tsv", "sentence\tx\ngood\t1\nbad\n", [], 31, "a.tsv:3:"),
        ("a.tsv", "text\ngood\n", [], 31, "'sentence'"),
        ("a.jsonl", '{"sentence": "good"}\n{"text": "bad"}\n', [], 31, "a.jsonl:2:sentence"),
        ("a.txt", "good\n\nbad\n", [], 31, "a.txt:2:1"),
        ("a.txt", "", [], 31, "a.txt"),
        ("a.doc", "good\n", [], 2, "cannot tell what this file is"),
        ("a.tsv", "sentence\ngood\n", ["--columns", "a,b"], 2, "a row of SST-2 has 1 texts"),
        ("a.tsv", "sentence\ngood\n", ["--text", "x"], 2, "Give one of them"),
    ],
)
def test_wrong_input_is_named_by_its_place_and_nothing_is_written(
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    options: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    out = tmp_path / "out.jsonl"
    assert predict.main(["--model", model, "--input", str(tmp_path / name), "--output", str(out), *options]) == code
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_models_that_cannot_be_used(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    assert predict.main(["--model", "runs/toy", "--text", "x"]) == 8
    assert "was pretrained, not fine-tuned" in capsys.readouterr().err
    assert predict.main(["--model", model, "--text", "x", "--text-b", "y"]) == 2
    assert predict.main(["--model", model, "--text", " "]) == 2
    shutil.copytree(model, tmp_path / "copy")
    weights = tmp_path / "copy" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    capsys.readouterr()
    assert predict.main(["--model", str(tmp_path / "copy"), "--text", "x"]) == 22
    assert "model.safetensors" in capsys.readouterr().err


def test_the_table_marks_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    odd = Path("results") / "SST-2" / "odd"
    odd.mkdir(exist_ok=True)
    (odd / "score.json").write_text('{"task": 1}', encoding="utf-8")
    assert table.main(["results", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "left out results/SST-2/odd/score.json" in out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("| SST-2")]
    assert [row[2] for row in rows] == ["toy", "toy-random", "toy-random", "ConvBERT-small", *[r[2] for r in rows[4:]]]
    assert "one seed" in rows[0][6] and "448 of 67,349 training rows" in rows[0][6] and rows[0][4] == ""
    chosen = [row for row in rows if "the best of 2 settings: chosen on dev" in row[6]]
    assert len(chosen) == 1
    assert all("RANDOM WEIGHTS" in row[6] and "2 seeds" in row[6] and "±" in row[3] for row in rows[1:3])
    assert rows[3][5] == "91.39" and "PaddleNLP" in rows[3][6]
    medians = [row for row in rows if "median of 5 seeds" in row[6]]
    assert [row[4] for row in medians] == ["96.40"]
    assert table.main(["results", "--no-published", "--task", "sst-2"]) == 0
    assert "ConvBERT" not in capsys.readouterr().out
    assert table.main(["nowhere"]) == 5
    assert table.main(["runs"]) == 5
    assert table.main(["results", "--task", "RTE"]) == 2
