"""Several builds of one data set at once: one builds, the others are told; whatever is committed is the work of one of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shards.errors import ExistsError, LockedError
from shards.locate import find_data_sets
from shards.manifest import Manifest
from tests.helpers.builds import OPTIONS, build, write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", files=2, bytes_each=6000)


def race(cwd: Path, corpus: Path, builders: int, *more: str) -> list[int]:
    """Start builds with different seeds in processes of their own, let them go at once, and return their exit codes."""
    begin, end = os.pipe()
    children = []
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    for seed in range(builders):
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.close(end)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                os.read(begin, 1)  # returns when the parent closes the other end
                code = build(cwd, *given, *OPTIONS, "--seed", str(seed), *more)[0]
            finally:
                os._exit(code)
        children.append(child)
    os.close(begin)
    os.close(end)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def check_race(cwd: Path, corpus: Path, builders: int) -> None:
    cwd.mkdir()
    codes = race(cwd, corpus, builders)
    assert codes.count(0) == 1, codes
    assert set(codes) <= {0, LockedError.exit_code, ExistsError.exit_code}, codes
    (found,) = find_data_sets(cwd / "shards")
    found.verify()
    assert found.manifest.recipe["seed"] == codes.index(0)
    names = {p.name for p in (cwd / "shards/set").iterdir()}
    assert names == {e.file for e in found.manifest.shards} | {
        found.manifest.tokenizer.folder, "manifest.json", found.manifest.made["units"]["file"]
    }  # fmt: skip
    assert not (cwd / "shards/.set.lock").exists()


def test_of_several_builds_one_builds(tmp_path: Path, corpus: Path) -> None:
    for number in range(3):
        check_race(tmp_path / str(number), corpus, 4)


def test_replacements_follow_each_other(tmp_path: Path, corpus: Path) -> None:
    assert race(tmp_path, corpus, 1) == [0]
    codes = race(tmp_path, corpus, 4, "--overwrite")
    assert 0 in codes and set(codes) <= {0, LockedError.exit_code}
    (found,) = find_data_sets(tmp_path / "shards")
    found.verify()
    assert codes[int(Manifest.read(tmp_path / "shards/set").recipe["seed"])] == 0, "the last to commit is one that says so"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_races_mix_nothing(tmp_path: Path, corpus: Path) -> None:
    for number in range(100):
        check_race(tmp_path / str(number), corpus, 2 if number % 2 else 8)
