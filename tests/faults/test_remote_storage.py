"""Data sets behind a URL: stopped at any put the old set or the new one is there; what is read back is what was written."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pipeline.build import main
from pipeline.errors import CorpusError
from pipeline.inspect import main as inspect
from shards import durable
from shards.errors import ExistsError, IntegrityError, LockedError, NotFoundError, StorageError, UsageError
from shards.reader import DataSet
from shards.remote import read_remote_manifest
from shards.remote_storage import RemoteStorage
from shards.remove import main as remove
from shards.storage import LocalStorage, storage_at
from shards.verify import main as verify
from tests.helpers.builds import OPTIONS, build, build_text, write_corpus

OUT = ("--out", "memory://bucket/data")
URL = "memory://bucket/data/set"


class Crash(BaseException):
    """Ends a build at one operation, as a killed process would: no handler of the code under test catches it."""


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    monkeypatch.setenv("WORDLOOM_CACHE", str(tmp_path / "cache"))
    yield fs
    durable.fault_hook = None
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", files=2)


def stored(fs: Any, but_notes: bool = True) -> dict[str, bytes]:
    files = {path.rpartition("/set/")[2]: fs.cat_file(path) for path in fs.find("/bucket/data/set")}
    return {n: d for n, d in files.items() if not (but_notes and (n == "manifest.json" or n.startswith("units-")))}


def local_files(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {n: d for n, d in files.items() if n != "manifest.json" and not n.startswith("units-")}


def test_a_store_gets_the_bytes_that_a_folder_gets(tmp_path: Path, corpus: Path, memory: Any) -> None:
    here, there = build_text(tmp_path, corpus), build_text(tmp_path, corpus, *OUT)
    assert there["outputs"] == [URL] and there["fingerprint"] == here["fingerprint"]
    assert stored(memory) == local_files(tmp_path / "shards/set")
    assert not memory.exists("/bucket/data/.set.lock")
    assert not list((tmp_path / "cache").rglob("builds/*")), "nothing of the build stays on this machine"


def test_input_from_a_store_gives_what_files_give(tmp_path: Path, corpus: Path, memory: Any) -> None:
    (corpus / "text/9.txt.gz").write_bytes(gzip.compress((corpus / "text/0.txt").read_bytes() + "\n\n最后一篇。\n".encode()))
    for path in (corpus / "text").iterdir():
        memory.pipe_file(f"/raw/text/{path.name}", path.read_bytes())
    here = build_text(tmp_path, corpus, "--deduplicate", "near")
    given = ("--corpus", "text", "--name", "set", "--tokenizer", str(corpus / "vocab.txt"), *OPTIONS, "--deduplicate", "near")
    for place in ("memory://raw/text", "memory://raw/text/*.txt*"):
        for out in (("--out", str(tmp_path / "far")), OUT):
            code, there = build(tmp_path, *given, "--input", place, "--overwrite", *out)
            assert code == 0 and there["fingerprint"] == here["fingerprint"], there
    assert local_files(tmp_path / "far/set") == local_files(tmp_path / "shards/set") == stored(memory)
    assert [entry.path for entry in read_remote_manifest(URL).corpus] == ["0.txt", "1.txt", "9.txt.gz"]
    code, refused = build(tmp_path, *given, "--input", "memory://raw/nothing", "--out", "elsewhere")
    assert code == CorpusError.exit_code and "memory://raw/nothing" in refused["error"]


def test_it_is_verified_and_read_through_a_copy(tmp_path: Path, corpus: Path, memory: Any) -> None:
    build_text(tmp_path, corpus)
    build_text(tmp_path, corpus, *OUT)
    near, far = DataSet.open(tmp_path / "shards/set").split("train"), DataSet.open(URL).split("train")
    rows = np.arange(len(near))
    assert np.array_equal(near.take(rows).ids, far.take(rows).ids) and far.data_sets[0].name == "set"
    assert verify([URL]) == 0 and verify(["memory://bucket/data"]) == 0 and inspect([URL]) == 0
    # Once copied, it is not fetched again; the store is still what `verify` looks at.
    shard = next(path for path in memory.find("/bucket/data/set") if "/train-" in path)
    data = memory.cat_file(shard)
    memory.pipe_file(shard, data[:-1] + bytes([data[-1] ^ 1]))
    DataSet.open(URL).verify()
    assert verify([URL]) == IntegrityError.exit_code
    for lie in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x"):
        memory.pipe_file(shard, lie)
        for path in (tmp_path / "cache").rglob("train-*.arrow"):
            path.unlink()
        with pytest.raises(IntegrityError, match="train-"):
            DataSet.open(URL)
        assert not list((tmp_path / "cache").rglob(shard.rpartition("/")[2]))
    memory.rm_file(shard)
    with pytest.raises(NotFoundError, match="missing"):
        DataSet.open(URL)


def test_the_copy_must_fit(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    build_text(tmp_path, corpus, *OUT)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(StorageError, match="no room for a copy of memory://bucket/data/set"):
        DataSet.open(URL)


def test_stopped_before_any_put_it_is_the_old_set_or_the_new_one(tmp_path: Path, corpus: Path, memory: Any) -> None:
    build_text(tmp_path, corpus, *OUT)
    old, before = read_remote_manifest(URL).fingerprint, stored(memory, but_notes=False)
    build_text(tmp_path, corpus, *OUT, "--overwrite", "--seed", "7")
    new, after = read_remote_manifest(URL).fingerprint, stored(memory)
    operation, reused = 0, 0
    while True:
        memory.rm("/bucket/data/set", recursive=True)
        for name, data in before.items():
            memory.pipe_file(f"/bucket/data/set/{name}", data)
        seen: list[str] = []

        def hook(kind: str, path: Path, at: int = operation, seen: list[str] = seen) -> None:
            if kind in ("put", "copy", "delete"):
                if len(seen) == at:
                    raise Crash
                seen.append(f"{kind} {path}")

        durable.fault_hook = hook
        try:
            build_text(tmp_path, corpus, *OUT, "--overwrite", "--seed", "7")
        except Crash:
            durable.fault_hook = None
            assert read_remote_manifest(URL).fingerprint in (old, new)
            assert verify([URL]) == 0
            reused += build_text(tmp_path, corpus, *OUT, "--overwrite", "--seed", "7")["figures"]["reused_units"]
            assert read_remote_manifest(URL).fingerprint == new and stored(memory) == after
            operation += 3
        else:
            break
    manifest = next(n for n, what in enumerate(seen) if what == "put manifest.json")
    assert operation > 15 and reused > 0
    assert all(what.startswith("delete") for what in seen[manifest + 1 :]), "after the manifest only deletions"
    assert not any(what.startswith("delete") for what in seen[:manifest]), "and none before it"


def test_the_lock_keeps_others_out(tmp_path: Path, corpus: Path, memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lock = "/bucket/data/.set.lock"
    memory.pipe_file(lock, json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-01-01"}).encode())
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    assert main([*given, *OUT, "--engine", "local"]) == LockedError.exit_code
    error = capsys.readouterr().err
    assert "locked by pid 1 on host elsewhere since 2026-01-01" in error and f"delete the object {lock}" in error
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    memory.pipe_file(lock, json.dumps({"pid": dead, "host": socket.gethostname(), "since": "2026-01-01"}).encode())
    assert main([*given, *OUT, "--engine", "local"]) == 0
    assert f"took over the lock of a process that died: pid {dead}" in capsys.readouterr().out
    with RemoteStorage(URL).exclusive(), pytest.raises(LockedError), RemoteStorage(URL).exclusive():
        raise AssertionError("held twice")
    assert not memory.exists(lock)


def test_a_store_without_exclusive_creation_says_so(
    memory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put = type(memory).pipe_file

    def plain(self: Any, path: str, data: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise NotImplementedError(mode)
        put(self, path, data)

    monkeypatch.setattr(type(memory), "pipe_file", plain)
    with RemoteStorage(URL).exclusive():
        assert "make sure that no other build writes there" in capsys.readouterr().out
        assert memory.exists("/bucket/data/.set.lock")


def test_a_store_that_refuses_is_named(tmp_path: Path, corpus: Path, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_text(tmp_path, corpus, *OUT)
    before = stored(memory)

    class OutOfQuota(Exception):
        """As clients have them: no OSError."""

    def refuse(self: Any, local: str, path: str) -> None:
        raise OutOfQuota("quota exceeded")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    with pytest.raises(StorageError, match=r"set/train-.*: cannot write: OutOfQuota: quota exceeded"):
        storage = RemoteStorage(URL)
        (staging := storage.staging()).path.joinpath("train-x.arrow").write_bytes(b"x")
        staging.publish("train-x.arrow")
    assert main([*given, *OUT, "--engine", "local", "--overwrite", "--seed", "3"]) == StorageError.exit_code
    assert {n: d for n, d in stored(memory).items() if not n.startswith(".build-")} == before


def test_what_makes_no_sense_is_refused(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--corpus", "sample", *OUT]) == UsageError.exit_code
    assert "--engine local" in capsys.readouterr().err
    assert main(["--corpus", "text", "--input", "x", "memory://y"]) == UsageError.exit_code
    assert "got memory://y). Use --engine local" in capsys.readouterr().err
    for out, words in (("s3://", "names no bucket"), ("nonsense://x", "no way to reach this store")):
        assert main(["--corpus", "sample", "--out", out, "--engine", "local"]) == UsageError.exit_code
        assert words in capsys.readouterr().err
    assert isinstance(storage_at(f"file://{tmp_path}", "x"), LocalStorage)
    build_text(tmp_path, corpus, *OUT)
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    assert main([*given, *OUT, "--engine", "local"]) == ExistsError.exit_code
    assert verify(["memory://bucket/nowhere"]) == NotFoundError.exit_code


def test_files_are_added_to_a_set_in_a_store(tmp_path: Path, corpus: Path, memory: Any) -> None:
    build_text(tmp_path, corpus, *OUT)
    before = stored(memory)
    (tmp_path / "x.txt").write_text("新的文件。它有两句话。\n" * 30, encoding="utf-8")
    assert main(["--append", "--name", "set", *OUT, "--engine", "local", "--input", str(tmp_path / "x.txt")]) == 0
    after = stored(memory)
    assert {n: after[n] for n in before} == before and len(after) > len(before)
    assert verify([URL]) == 0
    assert remove([URL]) == 0 and not memory.exists("/bucket/data/set")
    assert remove([URL]) == NotFoundError.exit_code
