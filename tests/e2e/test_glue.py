"""The command itself, on a tiny checkpoint made here and a few rows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.glue import main
from finetune.tasks import TASKS
from tests.helpers.tiny_finetune import make_run, sample_words

# paddle warns, when it is imported, that no compiler cache is installed
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")

NUMBER = r"\d+\.\d+(e-\d+)?"
STEP = re.compile(
    r"global step (\d+)/(\d+), epoch: (\d+), batch: (\d+), rank_id: 0, "
    r"loss: \d+\.\d{6}, lr: (\d\.\d{10}), speed: \d+\.\d{4} step/s"
)
EVAL = re.compile(rf"eval loss: \d+\.\d{{6}}, acc: ({NUMBER}), eval done total : {NUMBER} s")
FAST = ["--epochs", "1", "--max-train-rows", "64", "--batch-size", "16", "--max-seq-len", "32", "--learning-rate", "1e-3"]


@dataclass(frozen=True)
class Workspace:
    """A working directory with one finished run."""

    folder: Path
    run: Path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("work")
    return Workspace(folder=folder, run=make_run(folder, "toy", sample_words()))


@pytest.fixture(autouse=True)
def _inside(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.folder)
    monkeypatch.delenv("WORDLOOM_DATA", raising=False)


def write_task(folder: Path, name: str, train: str, dev: str) -> Path:
    target = folder / name
    target.mkdir(parents=True)
    (target / TASKS[name].train_files[0]).write_text(train, encoding="utf-8")
    (target / TASKS[name].dev.files[0]).write_text(dev, encoding="utf-8")
    return target


def sst2(rows: int = 8) -> str:
    return "sentence\tlabel\n" + "".join(f"a film {'good' if i % 2 else 'dull'}\t{i % 2}\n" for i in range(rows))


def read_row(path: Path) -> dict[str, object]:
    row = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(row, dict)
    return row


def test_it_learns_the_sample_and_says_all_it_should(workspace: Workspace) -> None:
    options = ["--epochs", "6", "--batch-size", "16", "--learning-rate", "2e-3", "--max-seq-len", "32", "--logging-steps", "10"]
    command = [
        sys.executable,
        "-m",
        "finetune.glue",
        "--task",
        "sst-2",
        "--data",
        "sample",
        "--seeds",
        "2",
        "--engine",
        "local",
        "--json",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out, err = done.stdout, done.stderr
    report = json.loads(out)
    assert out.count("\n") == 1
    assert (report["command"], report["ok"]) == ("finetune.glue", True)
    path = Path(report["outputs"][0])
    row = read_row(path)
    assert report["figures"] == row

    steps = [match for line in err.splitlines() if (match := STEP.fullmatch(line))]
    total = 6 * 28  # 448 rows, 16 a step
    assert [int(match[1]) for match in steps[:3]] == [10, 20, 28]
    assert {int(match[2]) for match in steps} == {total}
    assert (steps[2][3], steps[2][4]) == ("0", "27")
    assert (steps[-1][1], steps[-1][5]) == (str(total), "0.0000000000")
    # warm-up ends after 16 of 168 steps; from there the rate falls along a line
    assert float(steps[1][5]) == pytest.approx(2e-3 * (total - 20) / (total - 16), abs=1e-9)
    evaluations = [float(match[1]) for line in err.splitlines() if (match := EVAL.fullmatch(line))]
    assert len(evaluations) == 2 * 6

    assert row["seeds"] == [0, 1]
    last = [evaluations[5], evaluations[11]]
    assert [run["last"]["acc"] for run in row["runs"]] == last  # type: ignore[attr-defined]
    mean = sum(last) / 2
    assert row["mean"] == row["metrics"] == {"acc": pytest.approx(mean)}
    assert row["median"] == {"acc": pytest.approx(mean)}
    assert row["sd"] == {"acc": pytest.approx(abs(last[0] - last[1]) / 2**0.5)}
    assert row["best"]["acc"] == max(evaluations)  # type: ignore[index]
    assert mean > 0.8
    checkpoint = str(row["checkpoint_fingerprint"])
    assert path == Path("results") / "SST-2" / f"toy-{checkpoint[:8]}" / "score.json"
    for words in ("newest finished run", "embedded sample", f"± {row['sd']['acc']:.4f}", checkpoint[:16], "toy 5555555555555555"):  # type: ignore[index]
        assert words in err
    assert str(row["data_fingerprint"])[:16] in err


def test_the_same_seed_gives_the_same_row_and_another_does_not(workspace: Workspace) -> None:
    from pretrain.checkpoint import resolve_model

    rows = {}
    for out, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert main(["--task", "SST-2", "--data", "sample", "--seed", seed, "--out", out, *FAST]) == 0
        (path,) = Path(out).glob("SST-2/*/score.json")
        rows[out] = path.read_bytes()
        saved = resolve_model(path.parent / "model")
        assert saved.fingerprint == read_row(path)["fine_tuned_fingerprint"]
        assert "classifier.weight" in saved.weights()
        assert read_row(path)["sd"] == {"acc": None}
    assert rows["one"] == rows["two"]
    assert json.loads(rows["one"])["fine_tuned_fingerprint"] != json.loads(rows["three"])["fine_tuned_fingerprint"]


def test_other_settings_get_a_folder_of_their_own(workspace: Workspace) -> None:
    command = ["--task", "SST-2", "--data", "sample", "--out", "folders", *FAST]
    assert main(command) == 0
    (first,) = Path("folders").glob("SST-2/*/score.json")
    before = first.read_bytes()
    assert main([*command, "--weight-decay", "0"]) == 0
    assert main([*command, "--weight-decay", "0"]) == 0
    both = sorted(Path("folders").glob("SST-2/*/score.json"))
    assert len(both) == 2
    assert both[0] == first and first.read_bytes() == before
    assert both[1].parent.name.startswith(first.parent.name + "-")
    assert main(command) == 0
    assert sorted(Path("folders").glob("SST-2/*/score.json")) == both and first.read_bytes() == before


@pytest.mark.parametrize(
    ("task", "header", "rows", "metrics"),
    [
        ("CoLA", "", ["x\t1\t\ta good film.", "x\t0\t*\tfilm good a."], ["mcc"]),
        (
            "MRPC",
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n",
            ["1\t1\t2\ta film\ta film", "0\t3\t4\ta film\tdull"],
            ["acc", "f1"],
        ),
        ("STS-B", "sentence1\tsentence2\tscore\n", ["a film\ta film\t4.8", "a film\tdull\t0.4"], ["pearson", "spearman"]),
        ("RTE", "index\tsentence1\tsentence2\tlabel\n", ["0\ta\tb\tentailment", "1\tc\td\tnot_entailment"], ["acc"]),
    ],
)
def test_pairs_regression_and_headerless_files(
    workspace: Workspace, tmp_path: Path, task: str, header: str, rows: list[str], metrics: list[str]
) -> None:
    text = header + "\n".join(rows * 8) + "\n"
    write_task(tmp_path, task, text, text)
    assert main(["--task", task, "--data-dir", str(tmp_path), "--out", str(tmp_path / "out"), *FAST]) == 0
    (path,) = (tmp_path / "out").glob(f"{task}/*/score.json")
    assert sorted(read_row(path)["mean"]) == metrics  # type: ignore[call-overload]


def test_mnli_scores_the_second_dev_set_when_it_is_there(workspace: Workspace, tmp_path: Path) -> None:
    text = "sentence1\tsentence2\tgold_label\n" + "a\tb\tneutral\nc\td\tentailment\ne\tf\tcontradiction\n" * 4
    folder = write_task(tmp_path, "MNLI", text, text)
    command = ["--task", "MNLI", "--data-dir", str(folder), *FAST]
    assert main([*command, "--out", str(tmp_path / "matched")]) == 0
    (folder / "dev_mismatched.tsv").write_text(text, encoding="utf-8")
    assert main([*command, "--out", str(tmp_path / "both")]) == 0
    found = [read_row(next((tmp_path / out).glob("MNLI/*/score.json")))["mean"] for out in ("matched", "both")]
    assert [sorted(mean) for mean in found] == [["acc"], ["acc", "acc_mismatched"]]  # type: ignore[call-overload]


def test_data_is_looked_up_in_the_documented_order(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.inputs import load_task

    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "data" / "glue", "SST-2", sst2(2), sst2())
    assert "data/glue/SST-2" in load_task(TASKS["SST-2"]).notes[0]
    write_task(tmp_path / "elsewhere" / "glue", "SST-2", sst2(4), sst2())
    monkeypatch.setenv("WORDLOOM_DATA", str(tmp_path / "elsewhere"))
    assert "$WORDLOOM_DATA" in load_task(TASKS["SST-2"]).notes[0]
    given = write_task(tmp_path / "given", "SST-2", sst2(6), sst2())
    for folder in (given, given.parent):
        data = load_task(TASKS["SST-2"], data_dir=str(folder))
        assert len(data.train) == 6
        assert "--data-dir" in data.notes[0]


@pytest.mark.parametrize(
    ("train", "options", "code", "words"),
    [
        (sst2() + "fine\n", [], 31, "train.tsv:10:2"),
        (sst2() + "fine\t3\n", [], 31, "train.tsv:10:2"),
        ("sentence\tlabel\nfine\t1\n", [], 31, "same label"),
        ("sentence\tlabel\n" + "我喜欢它\t1\n他不好\t0\n" * 4, [], 33, "'他' ×4"),
        (sst2(), ["--max-seq-len", "3"], 2, "at least 4, got 3"),
        (sst2(), ["--task", "SST"], 2, "Did you mean 'SST-2'"),
        (sst2(), ["--model", "nowhere"], 5, "nowhere"),
        (sst2(), ["--data", "sample"], 2, "two sources"),
        (sst2(), ["--seeds", "0"], 2, "--seeds must be at least 1"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_paddle_is_loaded(
    workspace: Workspace, tmp_path: Path, train: str, options: list[str], code: int, words: str
) -> None:
    folder = write_task(tmp_path, "SST-2", train, sst2())
    command = ["--task", "SST-2", "--data-dir", str(folder), "--out", str(tmp_path / "out"), "--max-seq-len", "32", *options]
    program = (
        f"import sys\nfrom finetune.glue import main\ncode = main({command!r})\n"
        "assert 'paddle' not in sys.modules\nsys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_unknown_text_is_trained_on_when_allowed(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_task(tmp_path, "SST-2", "sentence\tlabel\n" + "我喜欢它\t1\n他不好\t0\n" * 4, sst2())
    assert main(["--task", "SST-2", "--data-dir", str(folder), "--allow-unk", "--out", str(tmp_path / "out"), *FAST]) == 0


def test_a_diverging_run_leaves_no_row(workspace: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = [*FAST, "--learning-rate", "1e30", "--epochs", "3"]
    assert main(["--task", "SST-2", "--data", "sample", "--out", str(tmp_path / "out"), *options]) == 23
    assert "Lower --learning-rate" in capfd.readouterr().err
    assert not list(tmp_path.rglob("score.json"))


def test_sigterm_ends_it_in_order_without_a_row(workspace: Workspace, tmp_path: Path) -> None:
    options = ["--epochs", "500", "--max-seq-len", "32", "--logging-steps", "1", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "finetune.glue", "--task", "SST-2", "--data", "sample", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("global step"))
        process.terminate()
        _, err = process.communicate(timeout=200)
    assert process.returncode == 143
    assert err.startswith("stopped: after step")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("score.json"))


def test_rows_of_the_hub_are_read_by_the_names_of_their_classes() -> None:
    datasets = pytest.importorskip("datasets")
    from finetune.errors import TaskDataError
    from finetune.hub import digest_of, examples_of

    def rows_of(labels: list[int], names: list[str]) -> Any:
        features = datasets.Features(
            sentence1=datasets.Value("string"), sentence2=datasets.Value("string"), label=datasets.ClassLabel(names=names)
        )
        count = range(len(labels))
        record = {"sentence1": [f"a{i}" for i in count], "sentence2": [f"b{i}" for i in count], "label": labels}
        return datasets.Dataset.from_dict(record, features=features)

    usual = rows_of([0, 1, 1], ["entailment", "not_entailment"])
    swapped = rows_of([1, 0, 0], ["not_entailment", "entailment"])
    found = [examples_of(TASKS["RTE"], rows, rows.features, "hub") for rows in (usual, swapped)]
    assert found[0] == found[1]
    assert found[0].labels == [0, 1, 1]
    assert found[0].texts_b == ["b0", "b1", "b2"]
    assert digest_of(found[0]) == digest_of(found[1]) != digest_of(found[0].take([1, 0, 2]))
    mrpc = rows_of([0, 1], ["not_equivalent", "equivalent"])
    assert examples_of(TASKS["MRPC"], mrpc, mrpc.features, "hub").labels == [0, 1]
    unlabelled = rows_of([0, -1], ["entailment", "not_entailment"])
    with pytest.raises(TaskDataError, match="hub:2:label"):
        examples_of(TASKS["RTE"], unlabelled, unlabelled.features, "hub")
    with pytest.raises(TaskDataError, match=r"missing column .*'question'"):
        examples_of(TASKS["QNLI"], usual, usual.features, "hub")


def test_without_files_and_without_a_hub_it_says_how_to_pass_local_files(workspace: Workspace) -> None:
    program = (
        "import os, sys\n"
        "os.environ['HF_ENDPOINT'] = 'http://127.0.0.1:9'\n"
        "from finetune.glue import main\n"
        "sys.exit(main(['--task', 'RTE', '--hub-id', 'nobody/nothing']))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 32, result.stderr
    for words in ("nobody/nothing", "127.0.0.1:9 does not answer", "data/glue/RTE", "--data-dir DIR", "--data sample"):
        assert words in result.stderr
    assert "Traceback" not in result.stderr
