"""What an earlier build left is used again where it still holds, and a build that uses it ends with the bytes of one that did not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.builds import build_text, data_files, write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


def fresh(tmp_path: Path, corpus: Path, *more: str) -> dict[str, bytes]:
    """Return the files of a build that finds nothing to use again."""
    cwd = tmp_path / "fresh"
    cwd.mkdir()
    assert build_text(cwd, corpus, *more)["figures"]["reused_units"] == 0
    return data_files(cwd)


def units_of(cwd: Path) -> int:
    folder = cwd / "shards/set"
    return len((folder / Manifest.read(folder).made["units"]["file"]).read_text().splitlines())


def test_a_changed_file_rebuilds_its_own_units(tmp_path: Path, corpus: Path) -> None:
    with open(corpus / "text/0.txt", "a") as file:
        file.write("\n\n这一篇有些\u200b脏，Ａ。\n")
    build_text(tmp_path, corpus)
    total = units_of(tmp_path)
    with open(corpus / "text/1.txt", "a") as file:
        file.write("\n\n又一篇文章。它很短。\n")
    report = build_text(tmp_path, corpus, "--overwrite")
    assert total - 2 <= report["figures"]["reused_units"] < total, "all but the last unit of one file of three"
    assert data_files(tmp_path) == fresh(tmp_path, corpus)
    again, anew = (Manifest.read(cwd / "shards/set").made for cwd in (tmp_path, tmp_path / "fresh"))
    assert again["rows_changed"] == anew["rows_changed"] and again["rows_changed"]["fold_full_width@1"]["rows"] == 1
    DataSet.open(tmp_path / "shards/set").verify()


@pytest.mark.parametrize(
    ("option", "value", "reused"),
    [("--seed", "9", False), ("--layout", "full", False), ("--heldout", "0.1", False), ("--on-error", "quarantine", True)],
)
def test_an_option_rebuilds_what_it_can_change(tmp_path: Path, corpus: Path, option: str, value: str, reused: bool) -> None:
    build_text(tmp_path, corpus)
    report = build_text(tmp_path, corpus, "--overwrite", option, value)
    assert report["figures"]["reused_units"] == (units_of(tmp_path) if reused else 0)
    assert data_files(tmp_path) == fresh(tmp_path, corpus, option, value)


def test_a_file_that_moves_up_is_rebuilt(tmp_path: Path, corpus: Path) -> None:
    """Shards hold the number of the file: units of another number are others."""
    build_text(tmp_path, corpus)
    (corpus / "text/1.txt").unlink()
    report = build_text(tmp_path, corpus, "--overwrite")
    assert report["figures"]["reused_units"] == units_of(tmp_path) / 2, "the file before it stays"
    assert data_files(tmp_path) == fresh(tmp_path, corpus)


def test_a_damaged_shard_or_note_is_not_used(tmp_path: Path, corpus: Path) -> None:
    build_text(tmp_path, corpus)
    whole, folder = data_files(tmp_path), tmp_path / "shards/set"
    shard = sorted(folder.glob("train-*.arrow"))[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert build_text(tmp_path, corpus, "--overwrite")["figures"]["reused_units"] == units_of(tmp_path) - 1
    assert data_files(tmp_path) == whole
    note = folder / Manifest.read(folder).made["units"]["file"]
    note.write_bytes(note.read_bytes().replace(b'"read": ', b'"read":  ').replace(b'"read":', b'"read":1', 1))
    assert build_text(tmp_path, corpus, "--overwrite")["figures"]["reused_units"] == 0
    assert data_files(tmp_path) == whole


def test_a_damaged_manifest_does_not_stand_in_the_way_of_its_replacement(tmp_path: Path, corpus: Path) -> None:
    build_text(tmp_path, corpus)
    whole, manifest = data_files(tmp_path), tmp_path / "shards/set/manifest.json"
    value = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(value | {"tag": "0" * 15}))
    assert build_text(tmp_path, corpus, "--overwrite")["figures"]["reused_units"] == 0
    assert data_files(tmp_path) == whole
