"""Same input, same bytes: for any engine and number of workers, killed at any moment and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.build import main as build
from pipeline.train_wordpiece import train_vocabulary
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.commands import ROOT, run, tree
from tests.helpers.crashpoints import dies_before

OPTIONS = ("--vocab-size", "700", "--max-seq-len", "64", "--unit-size", "4096", "--heldout", "0.1", "--seed", "3")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("zh_1.txt", "en.txt"):
        text = (ROOT / "pipeline" / "sample" / name).read_bytes()[:24_000].decode("utf-8", "ignore")
        text = text.replace("。", "。\u200b").replace("the ", "ｔhe\u3000")  # work for the rules of cleaning
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def command(corpus: Path, *more: str) -> list[str]:
    return ["--corpus", "text", "--input", str(corpus), "--name", "set", *OPTIONS, *more]


def files(cwd: Path) -> dict[str, bytes]:
    """Return the files of the data set but those that tell when and how long: the manifest, and the note of its units.

    Of the manifest what it counts beside the tally.
    """
    folder = cwd / "shards" / "set"
    made = Manifest.read(folder).made
    found = {name: data for name, data in tree(folder).items() if name != "manifest.json" and not name.startswith("units-")}
    return found | {name: repr(made[name]).encode() for name in ("rejects", "rows_changed", "skipped", "unknown_characters")}


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    cwd = tmp_path_factory.mktemp("undisturbed")
    ran = run("pipeline.build", *command(corpus, "--engine", "local", "--json"), cwd=cwd)
    assert ran.code == 0, ran.err
    assert len(files(cwd)) > 16, "several shards, some of them held out, and the tokenizer"
    assert b"fold_full_width" in files(cwd)["rows_changed"]
    return ran.json["fingerprint"], files(cwd)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ray_makes_the_bytes_that_local_makes(
    tmp_path: Path, corpus: Path, undisturbed: tuple[str, dict[str, bytes]], workers: str
) -> None:
    ran = run("pipeline.build", *command(corpus, "--engine", "ray", "--workers", workers, "--json"), cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert (ran.json["fingerprint"], files(tmp_path)) == undisturbed


def start(corpus: Path, cwd: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.build", *command(corpus, *more)], cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for_units(cwd: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(cwd.glob("shards/set/.build-*/unit-*.json"))) < count:
        assert process.poll() is None and time.monotonic() < deadline, "the build ended before it could be disturbed"
        time.sleep(0.002)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_killed_build_goes_on_to_the_same_bytes(
    tmp_path: Path, corpus: Path, undisturbed: tuple[str, dict[str, bytes]], engine: str
) -> None:
    with start(corpus, tmp_path, "--engine", engine) as process:
        wait_for_units(tmp_path, 3, process)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "shards/set/manifest.json").exists()
    ran = run("pipeline.build", *command(corpus, "--engine", "local", "--json"), cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["figures"]["reused_units"] >= 3
    assert (ran.json["fingerprint"], files(tmp_path)) == undisturbed


@pytest.mark.parametrize(
    ("engine", "number", "code"), [("local", signal.SIGINT, 130), ("local", signal.SIGTERM, 143), ("ray", signal.SIGINT, 130)]
)
def test_an_interrupted_build_says_how_to_go_on(
    tmp_path: Path, corpus: Path, engine: str, number: signal.Signals, code: int
) -> None:
    with start(corpus, tmp_path, "--engine", engine) as process:
        wait_for_units(tmp_path, 1, process)
        os.killpg(process.pid, number)  # as a terminal does: to the workers as well
        _, err = process.communicate()
    assert process.returncode == code
    assert "finished units are kept; the same command goes on from there" in err and "Traceback" not in err
    assert not (tmp_path / "shards/set/manifest.json").exists()


def test_a_damaged_unit_of_a_killed_build_is_made_again(
    tmp_path: Path, corpus: Path, undisturbed: tuple[str, dict[str, bytes]]
) -> None:
    with start(corpus, tmp_path, "--engine", "local") as process:
        wait_for_units(tmp_path, 3, process)
        os.killpg(process.pid, signal.SIGKILL)
    shard = sorted((tmp_path / "shards/set").glob("train-*.arrow"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    ran = run("pipeline.build", *command(corpus, "--engine", "local", "--json"), cwd=tmp_path)
    assert (ran.json["fingerprint"], files(tmp_path)) == undisturbed


def test_a_changed_input_byte_changes_the_plan(tmp_path: Path, corpus: Path, undisturbed: tuple[str, dict[str, bytes]]) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in corpus.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    with open(changed / "en.txt", "r+b") as file:
        file.write(b"Z")
    ran = run("pipeline.build", *command(changed, "--engine", "local", "--json"), cwd=tmp_path)
    assert ran.code == 0 and ran.json["fingerprint"] != undisturbed[0]
    assert not set(files(tmp_path)) & {name for name in undisturbed[1] if name.endswith(".arrow")}


# Four units, an existing vocabulary and the engine that loads fastest: these tests build hundreds of times.
CRASH_OPTIONS = ("--max-seq-len", "64", "--unit-size", "4096", "--heldout", "0.3", "--segmenter", "rjieba", "--engine", "local")


@pytest.fixture(scope="module")
def small(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "vocab.txt").write_text("\n".join(train_vocabulary(["天地玄黄，宇宙洪荒。"], 200)) + "\n", encoding="utf-8")
    (folder / "text").mkdir()
    for path in corpus.iterdir():
        (folder / "text" / path.name).write_text(path.read_bytes()[:9000].decode("utf-8", "ignore"), encoding="utf-8")
    return folder


def build_in(cwd: Path, small: Path, *more: str) -> int:
    before = os.getcwd()
    os.chdir(cwd)
    given = ("--input", str(small / "text"), "--tokenizer", str(small / "vocab.txt"))
    try:
        return build(["--corpus", "text", "--name", "set", *given, *CRASH_OPTIONS, *more])
    finally:
        os.chdir(before)


def check_every(step: int, small: Path, tmp_path: Path) -> int:
    (tmp_path / "whole").mkdir()
    assert build_in(tmp_path / "whole", small) == 0
    expected, fingerprint = files(tmp_path / "whole"), Manifest.read(tmp_path / "whole/shards/set").fingerprint
    operation = visited = 0
    while True:
        cwd = tmp_path / str(operation)
        cwd.mkdir()
        if not dies_before(operation, partial(build_in, cwd, small)):
            return visited
        visited += 1
        if (cwd / "shards/set/manifest.json").exists():
            DataSet.open(cwd / "shards/set").verify()
            assert Manifest.read(cwd / "shards/set").fingerprint == fingerprint
        assert build_in(cwd, small, "--overwrite") == 0
        assert files(cwd) == expected, "the same files, and nothing else is left"
        operation += step


def test_killed_before_a_durable_operation(tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_every(13, small, tmp_path) >= 7


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_before_every_durable_operation(tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_every(1, small, tmp_path) >= 90
