"""Every family of tasks from the command line, on a tiny checkpoint of random weights; what is wrong with it or with the model."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_finetune import make_run, sample_words

HAN = list("北京上海人他在说好甲乙丙丁案件事实队股票财经体育新闻是的")
FAST = ["--batch-size", "8", "--epochs", "1", "--learning-rate", "1e-3", "--max-seq-len", "24"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretrain import environment

    environment.start("cpu")
    folder = tmp_path_factory.mktemp("work")
    make_run(folder, "toy", [*sample_words(), *HAN, *"0123456789_[]"])
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("WORDLOOM_DATA", raising=False)


def run(command: str, *arguments: object) -> int:
    code = importlib.import_module(f"finetune.{command}").main([str(argument) for argument in arguments])
    assert isinstance(code, int)
    return code


def row_of(out: Path) -> dict[str, Any]:
    (path,) = out.glob("*/*/score.json")
    row = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(row, dict)
    return row


def write(folder: Path, **files: Sequence[object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_clue_with_its_submission(tmp_path: Path) -> None:
    rows = [{"sentence1": "北京", "sentence2": "上海人" if i % 2 else "北京", "label": "01"[i % 2], "id": i} for i in range(12)]
    tests = [{"sentence1": "他在北京", "sentence2": "他在上海", "id": 40 + i} for i in range(3)]
    folder = write(tmp_path / "afqmc", train_json=[*rows, {**rows[0], "label": "-"}], dev_json=rows[:4], test_json=tests)
    assert run("clue", "--task", "afqmc", "--data-dir", folder, "--predict", "--out", tmp_path / "out", *FAST) == 0
    row = row_of(tmp_path / "out")
    assert row["tally"] == {"rows_without_label": 1, "dev_rows_in_train": 4}
    (path,) = (tmp_path / "out").glob("*/*/afqmc_predict.json")
    answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [answer["id"] for answer in answers] == [40, 41, 42]
    assert {answer["label"] for answer in answers} <= {"0", "1"}


def test_fewclue_files_are_read_and_submitted_under_fewclues_name(tmp_path: Path) -> None:
    rows = [{"label": "103" if i % 2 else "104", "label_desc": "x", "sentence": "队股"[i % 2] * 3, "id": i} for i in range(8)]
    folder = write(tmp_path / "tnews", train_few_all_json=rows, dev_few_all_json=rows[:4], test_public_json=rows[:3])
    options = ["--data-dir", folder.parent, "--predict", "--out", tmp_path / "out", *FAST]
    assert run("clue", "--task", "tnews", *options, "--max-dev-rows", "3") == 0
    assert row_of(tmp_path / "out")["rows"] == {"train": 8, "train_available": 8, "dev": 3, "dev_available": 4}
    (path,) = (tmp_path / "out").glob("*/*/*_predict.json")
    assert path.name == "tnewsf_predict.json" and path.read_text(encoding="utf-8").count("\n") == 3
    assert importlib.import_module("finetune.table").main([str(tmp_path / "out")]) == 0


def test_glue_submissions_have_the_names_and_forms_the_server_takes(tmp_path: Path) -> None:
    rte = ["index\tsentence1\tsentence2\tlabel", *(f"{i}\ta film\tb\t{'not_' * (i % 2)}entailment" for i in range(8))]
    sts = ["index\tsentence1\tsentence2\tscore", *(f"{i}\ta film\tb\t{i / 2}" for i in range(8))]
    cola = [f"x\t{i % 2}\t\ta film" for i in range(8)]
    for name, rows, tests in (
        ("RTE", rte, ["index\tsentence1\tsentence2", "0\ta\tb", "1\tc\td"]),
        ("STS-B", sts, ["index\tsentence1\tsentence2", "0\ta\tb", "1\tc\td"]),
        ("CoLA", cola, ["index\tsentence", "0\ta", "1\t "]),  # a row without text has a line as well
    ):
        write(tmp_path / name, train_tsv=rows, dev_tsv=rows, test_tsv=tests)
    assert run("glue", "--task", "RTE,STS-B,CoLA", "--data-dir", tmp_path, "--predict", "--engine", "local",
               "--out", tmp_path / "out", *FAST) == 0  # fmt: skip
    texts = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "out").glob("*/*/*.tsv")}
    assert sorted(texts) == ["CoLA.tsv", "RTE.tsv", "STS-B.tsv"]
    for lines in texts.values():
        assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == ["0", "1"]
    assert {line.split("\t")[1] for line in texts["RTE.tsv"][1:]} <= {"entailment", "not_entailment"}
    assert all(0.0 <= float(line.split("\t")[1]) <= 5.0 for line in texts["STS-B.tsv"][1:])
    assert run("glue", "--task", "RTE", "--data-dir", tmp_path / "RTE", "--predict", "--out", tmp_path / "x", *FAST) == 0
    (tmp_path / "RTE" / "test.tsv").unlink()
    assert run("glue", "--task", "RTE", "--data-dir", tmp_path, "--predict", "--out", tmp_path / "x", *FAST) == 5


def test_closer_cases_are_learned_at_a_constant_rate_beyond_the_pretrained_length(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"A": "甲" * 30, "B": "甲" * (20 + i), "C": "乙" * (20 + i)} for i in range(40)]
    folder = write(tmp_path / "cail", triples_jsonl=rows)
    usual = ["--data-dir", folder, "--batch-size", "8", "--logging-steps", "4", "--out", tmp_path / "out"]
    assert (
        run("cail2019_scm", *usual, "--pooling", "mean", "--learning-rate", "3e-3", "--epochs", "16", "--max-seq-len", "96") == 0
    )
    out = capfd.readouterr().out
    assert "positions: 96; the network was made for 64" in out
    assert {part.split(",")[0] for part in out.split(", lr: ")[1:]} == {"0.0030000000"}
    row = row_of(tmp_path / "out")
    assert row["metrics"]["acc"] > 0.9  # the closer case shares A's character
    assert (row["settings"]["lr_schedule"], row["settings"]["pooling"], row["tally"]) == (
        "constant", "mean", {"rows_labelled_by_convention": 40},
    )  # fmt: skip


def test_thucnews_titles(tmp_path: Path) -> None:
    rows = [f"体育 队 新闻\t{0}" if i % 2 else f"财经 股票\t{1}" for i in range(24)]
    folder = write(tmp_path / "thuc", train_txt=rows, dev_txt=rows[:6], test_txt=rows[:4], class_txt=["sports", "finance"])
    assert (
        run("thucnews", "--data-dir", folder, "--out", tmp_path / "out", *FAST, "--epochs", "20", "--learning-rate", "5e-3") == 0
    )
    assert row_of(tmp_path / "out")["metrics"] == {"acc": 1.0, "acc_test": 1.0}


def test_own_pairs_and_scores(tmp_path: Path) -> None:
    rows = [{"p": "北京", "q": "北京" if i % 2 else "上海", "same": str(i % 2), "score": i % 2 * 7} for i in range(16)]
    folder = write(tmp_path / "own", train_jsonl=rows, dev_jsonl=rows[:6])
    files = ["--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl", *FAST]
    assert run("text", *files, "--columns", "p,q,same", "--name", "pairs", "--out", tmp_path / "a") == 0
    assert sorted(row_of(tmp_path / "a")["metrics"]) == ["acc", "f1-macro"]
    assert run("text", *files, "--columns", "p,q,score", "--kind", "score", "--out", tmp_path / "b") == 0
    assert sorted(row_of(tmp_path / "b")["metrics"]) == ["pearson", "spearman"]
    assert row_of(tmp_path / "a")["data_fingerprint"] != row_of(tmp_path / "b")["data_fingerprint"]


def test_entities_are_learned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = ["北 B-LOC", "京 I-LOC", "人 O", "", "他 B-PER", "在 O", "上 B-LOC", "海 I-LOC", ""] * 4
    folder = write(tmp_path / "ner", train_txt=rows, dev_txt=rows[:9])
    files = ["--train", folder / "train.txt", "--dev", folder / "dev.txt", *FAST, "--epochs", "20", "--learning-rate", "5e-3"]
    assert run("ner", *files, "--out", tmp_path / "out") == 0
    assert row_of(tmp_path / "out")["metrics"] == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    (model,) = (tmp_path / "out").glob("ner/*/model")
    assert run("predict", "--model", model, "--text", "他在上海", "--json") == 0
    (_, city) = json.loads(capfd.readouterr().out.splitlines()[-1])["figures"]["entities"]
    assert (city["type"], city["text"], city["begin"], city["end"]) == ("LOC", "上海", 2, 4)
    assert 1 / 5 < city["probability"] <= 1.0  # the likeliest of five tags


TITLES = {"train_txt": ["体育\t0", "股票\t1"], "dev_txt": ["体育 队\t0"], "class_txt": ["a", "b"]}


@pytest.mark.parametrize(
    ("command", "options", "code", "words"),
    [
        ("thucnews", ["--data-dir", "nowhere"], 5, "nowhere"),
        ("thucnews", ["--data-dir", "titles", "--layout", "articles"], 31, "train.txt:1:2: the text column 'text' holds only"),
        ("clue", ["--task", "tnews", "--data", "local"], 5, "data/clue_few/tnews"),
        ("clue", ["--task", "tnewz"], 2, "Did you mean 'tnews'"),
        ("cail2019_scm", ["--data-dir", "titles"], 5, "train.json and valid.json, or one file"),
        ("cail2019_scm", ["--data-dir", "titles", "--label-smoothing", "0.1"], 2, "no meaning for cail2019_scm"),
        ("text", ["--train", "titles/train.txt", "--dev", "gone.txt", "--columns", "1,2", "--no-header"], 5, "gone.txt: no such"),
        (
            "text",
            ["--train", "titles/train.txt", "--dev", "titles/dev.txt", "--columns", "1,3", "--no-header"],
            31,
            "no column '3'",
        ),
        ("text", ["--train", "a.xml", "--dev", "b.xml", "--columns", "a,b"], 2, "--layout tsv|csv|json"),
        ("text", ["--train", "a", "--dev", "b", "--columns", "a,b", "--name", "../x"], 2, "--name"),
        ("ner", ["--train", "titles/train.txt", "--dev", "titles/dev.txt"], 31, "train.txt:1:2: not a tag"),
        ("ner", ["--train", "titles/train.txt", "--dev", "titles", "--pooling", "mean"], 31, "not a tag"),
    ],
)
def test_what_is_wrong_is_said_before_training(
    command: str, options: list[str], code: int, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(Path("titles"), **TITLES)
    assert run(command, *options, "--out", tmp_path / "out", *FAST) == code
    error = capfd.readouterr().err
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["no tokenizer", "another tokenizer", "integrity"])
def test_a_model_that_is_not_whole_is_refused(damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "hurt", [*sample_words(), *HAN])
    (checkpoint,) = tmp_path.glob("runs/hurt/checkpoints/*")
    if damage == "no tokenizer":
        for path in (checkpoint / "tokenizer").iterdir():
            path.unlink()
        (checkpoint / "tokenizer").rmdir()
    elif damage == "another tokenizer":
        (checkpoint / "tokenizer" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", encoding="utf-8")
    else:
        weights = checkpoint / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    write(tmp_path / "titles", **TITLES)
    options = ["--data-dir", tmp_path / "titles", "--model", checkpoint, "--out", tmp_path / "out", *FAST]
    assert run("thucnews", *options) > 1
    error = capfd.readouterr().err
    place = {"no tokenizer": "tokenizer", "another tokenizer": "tokenizer/vocab.txt", "integrity": "model.safetensors"}[damage]
    assert str(checkpoint / place) in error and "Traceback" not in error, error
    assert not (tmp_path / "out").exists()


def test_a_folder_of_transformers_without_tokenizer_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from pretrain.export import main as export

    assert export([str(Path("runs/toy")), "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    for path in (tmp_path / "hf").iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    write(tmp_path / "titles", **TITLES)
    options = ["--data-dir", tmp_path / "titles", "--model", tmp_path / "hf", "--out", tmp_path / "out", *FAST]
    capfd.readouterr()
    assert run("thucnews", *options) > 1
    assert "no tokenizer here" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_that_paddlenlp_downloaded_are_read_by_our_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("paddlenlp") is None:
        pytest.skip("paddlenlp is not installed")
    rows = [f"{'体育' if i % 2 else '财经'}\t{'队' if i % 2 else '股票'} 新闻" for i in range(8)]
    write(tmp_path / "THUCNews" / "thucnews", train_txt=rows, val_txt=rows[:4], test_txt=rows[:4])
    cases = [{"A": "甲", "B": "甲" * (i + 1), "C": "乙", "label": "BC"[i % 2]} for i in range(8)]
    folder = write(tmp_path / "CAIL2019_SCM")
    for name in ("train", "dev", "test"):
        lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
        (folder / f"cail2019_scm_{name}.json").write_text(lines, encoding="utf-8")
    monkeypatch.setattr("finetune.paddlenlp_data.unreachable", lambda server: None)
    monkeypatch.setattr("finetune.paddlenlp_data._PROGRAM", f"print('noise'); print('data home: ' + {str(tmp_path)!r})")
    for command in ("thucnews", "cail2019_scm"):
        assert run(command, "--data", "hub", "--out", tmp_path / command, *FAST) == 0
        assert sorted(row_of(tmp_path / command)["metrics"]) == ["acc", "acc_test"]


def test_paddlenlp_that_cannot_be_reached_says_how_to_pass_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("finetune.paddlenlp_data.SERVER", "http://127.0.0.1:9")
    make_run(tmp_path, "toy", HAN)
    for command in ("thucnews", "cail2019_scm"):
        assert run(command, "--data", "hub", *FAST) == 32
        error = capfd.readouterr().err
        assert ("127.0.0.1:9 does not answer" in error or "paddlenlp is not installed" in error) and "--data-dir" in error
