"""Training reads data sets in a store through a copy on this machine, fetched once, and verified byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pretrain.loader import MicroBatches
from shards.errors import IntegrityError, NotFoundError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import tiny_config, tiny_plan

URL = "memory://training/sets"


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two data sets in a store of this process's memory; what is below `tmp_path / here` is where they came from."""
    monkeypatch.setenv("WORDLOOM_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    for number, name in enumerate("ab"):
        write_tiny_data(tmp_path / "here" / name, rows=20, seed=number)
    store.put(str(tmp_path / "here"), "/training/sets", recursive=True)
    yield store
    store.rm("/training", recursive=True)


def test_batches_are_those_of_the_original(stored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(tmp_path / "here", tmp_path / "runs", mix="b=1,a=2")
    local = tiny_plan(config)
    far = tiny_plan(replace(config, shards=URL))
    said = capsys.readouterr().out
    assert said.count("fetching") == 2 and "bytes, to " in said
    one, other = (
        MicroBatches(p.train, p.batches, global_batch=8, micro_batch=8, drawing=p.drawing).make(5) for p in (local, far)
    )
    assert all((one[name] == other[name]).all() for name in one)
    assert far.fresh == local.fresh
    tiny_plan(replace(config, shards=URL))
    assert "fetching" not in capsys.readouterr().out


def test_what_was_altered_there_or_here_is_refused(stored: Any, tmp_path: Path) -> None:
    config = replace(tiny_config(tmp_path, tmp_path / "runs"), shards=URL)
    shard = next(name for name in stored.find("/training/sets/a") if name.endswith("00001.arrow"))
    data = bytearray(stored.cat(shard))
    data[len(data) // 2] ^= 1
    stored.pipe(shard, bytes(data))
    with pytest.raises(IntegrityError, match=r"00001\.arrow: not what was built"):
        tiny_plan(config)
    copies = list((tmp_path / "cache").rglob("*00001.arrow"))
    assert not copies and not list((tmp_path / "cache").rglob(".*tmp*")), "nothing that looks whole is left"
    data[len(data) // 2] ^= 1
    stored.pipe(shard, bytes(data))
    tiny_plan(config)
    copy = next((tmp_path / "cache").rglob("a/*00001.arrow"))
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=r"00001\.arrow"):
        tiny_plan(config)
    stored.rm(shard)
    copy.unlink()
    with pytest.raises(NotFoundError, match="missing"):
        tiny_plan(config)
