"""``python -m pretrain.run`` as a user meets it: what it prints, writes, refuses, and how it stops."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pretrain.checkpoint import newest_finished_run, resolve_model
from pretrain.log_line import read_metrics
from shards.manifest import Manifest
from tests.helpers.built import build_set, documents
from tests.helpers.commands import ROOT, error_of, run
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import tiny_network, write_initial_checkpoint

LINE = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[    INFO\] - global step \d+, loss: \d+\.\d{9}, lm_loss: \d+\.\d{6}, "
    r"sop_loss: \d+\.\d{6}, speed: \d+\.\d\d steps/s, ips: \d+\.\d\d seqs/s, learning rate: \d\.\d{5}e-\d\d, "
    r"loss_scaling: 1\.0, num_good_steps: \d+, num_bad_steps: 0, tokens_per_s: \d+, data_wait: \d+\.\d%, memory: \d+ MB, mfu: \d+\.\d%"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a data set and, under start/, weights of a tiny network without dropout."""
    folder = tmp_path_factory.mktemp("work")
    write_tiny_data(folder / "shards" / "tiny")
    tokenizer = Manifest.read(folder / "shards" / "tiny").tokenizer
    write_initial_checkpoint(folder / "start", tiny_network(dropout=0.0), tokenizer.hash)
    return folder


COMMON = [
    "--init",
    "start",
    "--max-steps",
    "6",
    "--global-batch",
    "8",
    "--logging-steps",
    "2",
    "--eval-steps",
    "3",
    "--max-lr",
    "1e-2",
]


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[dict[str, object], str]:
    """Run the command once; return its JSON object and what it printed on stderr."""
    ran = run("pretrain.run", *COMMON, "--name", "one", "--json", cwd=place)
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 1
    return ran.json, ran.err


def test_the_summary_names_what_was_made(place: Path, finished: tuple[dict[str, object], str]) -> None:
    report, _ = finished
    assert report["ok"] is True and report["command"] == "pretrain.run"
    assert report["outputs"] == ["runs/one", "runs/one/checkpoints/step-00000006"]
    model = resolve_model(place / "runs" / "one")
    assert (model.name, model.step, model.fingerprint) == ("one", 6, report["fingerprint"])
    assert newest_finished_run(place / "runs") == place / "runs" / "one"


def test_the_log_has_the_published_lines_and_no_noise(finished: tuple[dict[str, object], str]) -> None:
    lines = finished[1].splitlines()
    steps = [line for line in lines if "global step" in line]
    assert len(steps) == 3 and all(LINE.fullmatch(line) for line in steps)
    assert sum("eval step" in line and "95 % lower bound" in line for line in lines) == 2
    assert not [line for line in lines if "Warning" in line or "FLAGS" in line]


def test_the_records_say_the_same(place: Path, finished: tuple[dict[str, object], str]) -> None:
    record = json.loads((place / "runs" / "one" / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["data"][0]["fingerprint"] == Manifest.read(place / "shards" / "tiny").fingerprint
    assert record["command"].startswith("python -m pretrain.run --init start")
    assert [("eval" in r, r["step"]) for r in read_metrics(place / "runs" / "one")] == [
        (False, 2), (True, 3), (False, 4), (False, 6), (True, 6),
    ]  # fmt: skip


def test_dashboards_show_the_same_numbers(place: Path, finished: tuple[dict[str, object], str]) -> None:
    pytest.importorskip("visualdl")
    from visualdl import LogReader

    run_folder = place / "runs" / "one"
    (file,) = (run_folder / "dashboard").iterdir()
    shown = {(item.id, round(item.value, 5)) for item in LogReader(file_path=str(file)).get_data("scalar", "train/loss")}
    assert shown == {(r["step"], round(r["loss"], 5)) for r in read_metrics(run_folder) if "eval" not in r}
    assert "dashboard: visualdl --logdir runs/one/dashboard" in finished[1]


def test_runs_lists_it(place: Path, finished: tuple[dict[str, object], str]) -> None:
    ran = run("pretrain.runs", cwd=place)
    assert re.search(r"one +finished +start +6/6 +\d\.\d{4} +tiny", ran.out)
    assert run("pretrain.runs", "--json", cwd=place).json["figures"]["runs"][0]["name"] == "one"


def test_a_finished_run_is_refused_saying_how_to_name_another(place: Path, finished: tuple[dict[str, object], str]) -> None:
    error_of(run("pretrain.run", *COMMON, "--name", "one", cwd=place), 25, "runs/one", "finished", "--name OTHER")


def test_two_processes_train_the_same_network(place: Path, finished: tuple[dict[str, object], str]) -> None:
    ran = run("pretrain.run", *COMMON, "--name", "two", "--nproc", "2", "--micro-batch", "2", "--json", cwd=place)
    assert ran.code == 0, ran.err
    assert ran.json["outputs"] == ["runs/two"]
    one, two = (resolve_model(place / "runs" / name).weights() for name in ("one", "two"))
    start = resolve_model(place / "start").weights()
    moved = max(float(np.abs(one[name] - start[name]).max()) for name in one)
    apart = max(float(np.abs(one[name] - two[name]).max()) for name in one)
    assert moved > 1e-2 and apart < 1e-4
    losses = [[r["loss"] for r in read_metrics(place / "runs" / name) if "loss" in r] for name in ("one", "two")]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-4)


def test_paddles_launcher_starts_the_file(place: Path) -> None:
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log"]
    command += [str(ROOT / "pretrain" / "run.py"), *COMMON, "--name", "launched"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((place / "runs" / "launched" / "run.json").read_text())
    assert (record["state"], record["ranks"]) == ("finished", 2)


def test_ctrl_c_saves_says_how_to_go_on_and_the_command_does(place: Path) -> None:
    arguments = [
        "--init", "start", "--max-steps", "3000", "--global-batch", "8", "--logging-steps", "10", "--eval-steps", "100000",
        "--save-steps", "100000", "--name", "stopped", "--workers", "2",
    ]  # fmt: skip
    # A session of its own, signalled as a whole: what a terminal does on Ctrl-C.
    process = subprocess.Popen(
        [sys.executable, "-m", "pretrain.run", *arguments], cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (place / "runs" / "stopped" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert len(err.strip().splitlines()) == 1, err
    said = re.fullmatch(
        r"stopped: saved (runs/stopped/checkpoints/step-\d{8}); go on with: python -m pretrain\.run (.*)", err.strip()
    )
    assert said is not None, err
    assert said[2].split() == arguments
    assert resolve_model(place / said[1]).step > 0
    assert json.loads((place / "runs" / "stopped" / "run.json").read_text())["state"] == "running"
    assert "stopped  " in run("pretrain.runs", cwd=place).out
    error_of(run("pretrain.run", *said[2].split(), "--seed", "5", cwd=place), 8, "seed differs", "expected 0, got 5")


def test_weights_of_another_tokenizer_are_refused_with_both_hashes(place: Path, tmp_path: Path) -> None:
    write_tiny_data(tmp_path / "shards" / "other", vocabulary="other")
    hashes = [Manifest.read(p).tokenizer.hash for p in (place / "shards" / "tiny", tmp_path / "shards" / "other")]
    ran = run("pretrain.run", "--init", str(place / "start"), cwd=tmp_path)
    error_of(ran, 8, *hashes, "64 tokens")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--shards", "nothing/"], 5, ["nothing", "pipeline.build"]),
        (["--model", "roformer-smal"], 2, ["roformer-small", "Did you mean"]),
        (["--max-lr", "1e-6"], 2, ["1e-05", "1e-06"]),
        (["--init", "nowhere"], 5, ["nowhere", "pretrain.runs"]),
    ],
)
def test_mistakes_are_one_line(place: Path, arguments: list[str], code: int, words: list[str]) -> None:
    error_of(run("pretrain.run", *arguments, cwd=place), code, *words)


def test_data_without_pairs_is_refused_for_sentence_order_and_good_for_masks(tmp_path: Path) -> None:
    write_tiny_data(tmp_path / "shards" / "lines", layout="line", heldout_rows=0)
    error_of(run("pretrain.run", cwd=tmp_path), 2, "no sentence pairs", "--objective mlm")
    modules = "print(sorted({n.split('.')[0] for n in sys.modules} & {'pipeline', 'jieba', 'rjieba', 'ray', 'datasets'}))"
    arguments = [
        "--objective",
        "mlm",
        "--model",
        "roformer-tiny",
        "--max-steps",
        "5",
        "--global-batch",
        "4",
        "--logging-steps",
        "5",
    ]
    code = f"import sys\nfrom pretrain.run import main\ncode = main({arguments!r})\n{modules}\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "the training path loaded what it must not"
    assert "sop_loss: 0.000000" in done.stdout and "eval step" not in done.stdout


@pytest.mark.slow
def test_a_probe_is_the_command_of_finetune_itself(tmp_path: Path) -> None:
    build_set(tmp_path, "zh", {"a.txt": documents(60)})
    probe = "glue --task SST-2 --data sample --epochs 1 --max-train-rows 8 --max-seq-len 16 --allow-unk"
    flags = ["--model", "roformer-tiny", "--max-steps", "4", "--global-batch", "4", "--save-steps", "2", "--name", "probed"]
    ran = run("pretrain.run", *flags, "--probe", probe, "--probe-steps", "4", cwd=tmp_path)
    assert ran.code == 0, ran.err
    records = [r for r in read_metrics(tmp_path / "runs" / "probed") if "probe" in r]
    assert [r["step"] for r in records] == [4] and "error" not in records[0]["probe"], records
    assert list((tmp_path / "runs" / "probed" / "probes" / "step-00000004").rglob("score.json"))
