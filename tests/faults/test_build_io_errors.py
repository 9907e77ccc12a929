"""A disk that refuses any one operation, once or from then on: an error that names the file, and what was committed stays."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards import durable
from shards.errors import StorageError
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.builds import OPTIONS, build, build_text, data_files, write_corpus


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    durable.fault_hook = None


def refuse(operation: int, number: int, *, persistent: bool) -> list[str]:
    """Let durable operation number `operation` fail, and with `persistent` all after it; return what was asked for."""
    seen: list[str] = []

    def hook(kind: str, path: Path) -> None:
        seen.append(f"{kind} {path.name}")
        if len(seen) - 1 == operation or (persistent and len(seen) > operation):
            raise OSError(number, os.strerror(number))

    durable.fault_hook = hook
    return seen


def check_every(step: int, tmp_path: Path, number: int, *, persistent: bool) -> int:
    corpus = write_corpus(tmp_path / "corpus", files=2, bytes_each=6000)
    build_text(tmp_path, corpus)
    old = Manifest.read(tmp_path / "shards/set").fingerprint
    (tmp_path / "new").mkdir()
    new = build_text(tmp_path / "new", corpus, "--seed", "5")["fingerprint"]
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    operation = visited = 0
    while True:
        shutil.copytree(tmp_path / "shards", (cwd := tmp_path / str(operation)) / "shards")
        seen = refuse(operation, number, persistent=persistent)
        code, report = build(cwd, *given, *OPTIONS, "--overwrite", "--seed", "5")
        durable.fault_hook = None
        if len(seen) <= operation:
            return visited
        visited += 1
        assert code == StorageError.exit_code, (seen[operation], report)
        assert os.strerror(number) in report["error"] and "error: shards/set" in report["error"]
        DataSet.open(cwd / "shards/set").verify()
        assert Manifest.read(cwd / "shards/set").fingerprint in (old, new), seen[operation]
        build_text(cwd, corpus, "--overwrite", "--seed", "5")
        assert data_files(cwd) == data_files(tmp_path / "new"), seen[operation]
        operation += step


@pytest.mark.parametrize("persistent", [False, True])
def test_an_error_of_the_disk_leaves_the_old_set_or_the_new_one(tmp_path: Path, persistent: bool) -> None:
    assert check_every(19, tmp_path, errno.ENOSPC, persistent=persistent) >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize(("number", "step"), [(errno.EIO, 5), (errno.ENOSPC, 1), (errno.EDQUOT, 5)])
def test_every_error_of_the_disk_leaves_the_old_set_or_the_new_one(
    tmp_path: Path, number: int, step: int, persistent: bool
) -> None:  # fmt: skip
    assert check_every(step, tmp_path, number, persistent=persistent) >= 50 // step
