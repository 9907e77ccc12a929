"""A writer killed before any of its durable operations leaves the old content or the new one, whole, and nothing else for long."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shards import durable
from shards.durable import commit_bytes, commit_directory, commit_stream, link_file, sweep
from shards.errors import StorageError, WordloomError
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.columns import made_columns, made_data_set
from tests.helpers.crashpoints import dies_before


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    durable.fault_hook = None


class Crash(BaseException):
    """Ends a writer at one operation, as a killed process would: no handler of the code under test catches it."""


def crash_at(operation: int) -> list[str]:
    """Let the given durable operation fail; return the list in which the operations before it are noted."""
    seen: list[str] = []

    def hook(kind: str, path: Path) -> None:
        if len(seen) == operation:
            raise Crash
        seen.append(f"{kind} {path.name}")

    durable.fault_hook = hook
    return seen


def write_set(folder: Path) -> None:
    made_data_set(folder, [made_columns(40, seed=1), made_columns(50, seed=2)])


def test_a_data_set_is_whole_or_absent_wherever_its_writer_is_killed(tmp_path: Path) -> None:
    write_set(tmp_path / "undisturbed")
    expected = {p.name: p.read_bytes() for p in (tmp_path / "undisturbed").iterdir()}
    operation = 0
    while dies_before(operation, partial(write_set, folder := tmp_path / f"set-{operation}")):
        if (folder / "manifest.json").exists():
            DataSet.open(folder).verify()
        write_set(folder)
        sweep(folder)
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == expected
        operation += 1
    assert operation > 20, "every operation of two shards and a manifest was visited"


def test_an_overwritten_file_holds_the_old_or_the_new_bytes(tmp_path: Path) -> None:
    for operation in range(20):
        path = tmp_path / f"file-{operation}"
        path.write_bytes(b"old")
        seen = crash_at(operation)
        try:
            commit_bytes(path, b"newer")
        except Crash:
            content = path.read_bytes()
            assert content == (b"newer" if f"rename {path.name}" in seen and "fsync_directory" in " ".join(seen) else content)
            assert content in (b"old", b"newer")
            assert [p for p in tmp_path.iterdir() if ".tmp-" in p.name] == []
        else:
            assert operation == len(seen) and seen[-2:] == [f"rename {path.name}", f"fsync_directory {tmp_path.name}"]
            return
    raise AssertionError("commit_bytes never came to an end")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_the_disk_names_the_file_and_leaves_no_trace(tmp_path: Path, number: int) -> None:
    path = tmp_path / "data.bin"
    commit_bytes(path, b"before")

    def hook(kind: str, _path: Path) -> None:
        if kind == "fsync":
            raise OSError(number, os.strerror(number))

    durable.fault_hook = hook
    with pytest.raises(StorageError, match=rf"data\.bin: cannot write: {os.strerror(number)}; [\d,]+ bytes are free"):
        commit_bytes(path, b"after")
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_a_path_below_a_file_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WordloomError, match="cannot write"):
        commit_bytes(tmp_path / "file" / "below", b"x")


def test_a_block_that_raises_commits_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), commit_stream(tmp_path / "x") as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for operation in range(20):
        temporary, final = tmp_path / f".c-{operation}.tmp-1", tmp_path / f"c-{operation}"
        temporary.mkdir()
        for name in ("a", "b"):
            (temporary / name).write_text(name)
        seen = crash_at(operation)
        try:
            commit_directory(temporary, final)
        except Crash:
            assert not final.exists() or sorted(p.name for p in final.iterdir()) == ["a", "b"]
            durable.fault_hook = None
            sweep(tmp_path)
            assert not temporary.exists()
        else:
            assert len([s for s in seen if s.startswith("fsync ")]) == 2
            return
    raise AssertionError("commit_directory never came to an end")


def test_the_manifest_is_the_commit(tmp_path: Path) -> None:
    made_data_set(tmp_path / "set", [made_columns(10, seed=1)])
    before = Manifest.read(tmp_path / "set").fingerprint

    def hook(kind: str, path: Path) -> None:
        if kind == "rename" and path.name == "manifest.json":
            raise Crash

    durable.fault_hook = hook
    with pytest.raises(Crash):
        made_data_set(tmp_path / "set", [made_columns(11, seed=1)], tag="00000000000000cc")
    assert Manifest.read(tmp_path / "set").fingerprint == before


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_has_the_bytes_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    for operation in range(20):
        folder = tmp_path / str(operation)
        folder.mkdir()
        commit_bytes(folder / "old", b"bytes")
        commit_bytes(folder / "new", b"others")
        crash_at(operation)
        try:
            link_file(folder / "old", folder / "new")
        except Crash:
            assert (folder / "new").read_bytes() in (b"others", b"bytes") and (folder / "old").read_bytes() == b"bytes"
        else:
            durable.fault_hook = None
            link_file(folder / "old", folder / "new")  # once more, onto itself
            assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"old": b"bytes", "new": b"bytes"}
            assert (os.stat(folder / "new").st_nlink == 2) == links
            return
        durable.fault_hook = None
    raise AssertionError("link_file never came to an end")
