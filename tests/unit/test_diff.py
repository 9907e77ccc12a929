"""`pipeline.diff`: what differs is named, what is equal is found equal, sample by sample."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.diff import EXIT_DIFFERENT
from pipeline.diff import main as diff
from pipeline.set_difference import compare
from shards.errors import IntegrityError, NotFoundError
from shards.reader import DataSet
from tests.helpers.built import build_set, documents
from tests.helpers.tiny_data import write_tiny_data


def samples(path: Path, split: str) -> Counter[tuple[bytes, int]]:
    of = DataSet.open(path).split(split)
    if not len(of):
        return Counter()
    rows = of.take(np.arange(len(of)))
    return Counter((rows.ids[b:e].tobytes(), int(s)) for b, e, s in zip(rows.offsets, rows.offsets[1:], rows.split, strict=False))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("diff")
    files = {"a.txt": documents(60), "b.txt": documents(60, first=60), "c.txt": documents(20, first=120)}
    first = build_set(root, "first", files)
    vocabulary = ("--tokenizer", str(next(first.glob("tokenizer-*"))))
    base = build_set(root, "base", files, *vocabulary)
    other_files = {"a.txt": documents(60), "b.txt": documents(60, first=61), "d.txt": documents(20, first=300)}
    return {
        "first": first,
        "base": base,
        "again": build_set(root, "again", files, *vocabulary),
        "seeded": build_set(root, "seeded", files, *vocabulary, "--seed", "5"),
        "files": build_set(root, "files", other_files, *vocabulary),
    }


def found(sets: dict[str, Path], a: str, b: str) -> dict[str, Any]:
    return compare(DataSet.open(sets[a]), DataSet.open(sets[b]))


def test_equal_sets_are_the_same(sets: dict[str, Path]) -> None:
    same = found(sets, "base", "again")
    assert same["same"] and same["recipe"] == [] and same["tokenizer"]["same"]
    assert same["shards"]["only_a"] == same["shards"]["only_b"] == 0 < same["shards"]["identical"]
    assert same["samples"]["train"]["only_a"] == same["samples"]["train"]["only_b"] == 0
    assert same["lengths"]["distance"] == 0.0


@pytest.mark.parametrize("other", ["seeded", "files"])
def test_samples_are_compared_one_by_one(sets: dict[str, Path], other: str) -> None:
    for split in ("train", "heldout"):
        a, b = samples(sets["base"], split), samples(sets[other], split)
        part = found(sets, "base", other)["samples"][split]
        assert part["common"] == (a & b).total() and part["exact"]
        assert (part["only_a"], part["only_b"]) == ((a - b).total(), (b - a).total())


def test_options_and_files_that_differ_are_named(sets: dict[str, Path]) -> None:
    assert found(sets, "base", "seeded")["recipe"] == [{"option": "seed", "a": 0, "b": 5}]
    corpus = found(sets, "base", "files")["corpus"]
    assert (corpus["only_a"], corpus["only_b"], corpus["changed"], corpus["same"]) == (["c.txt"], ["d.txt"], ["b.txt"], 1)
    shards = found(sets, "base", "files")["shards"]
    assert shards["identical"] > 0 and shards["only_a"] > 0


def test_samples_of_other_vocabularies_are_not_compared(sets: dict[str, Path], tmp_path: Path) -> None:
    small = build_set(tmp_path, "small", {"a.txt": documents(60)}, "--vocab-size", "200")
    result = compare(DataSet.open(sets["base"]), DataSet.open(small))
    assert result["samples"] is None and not result["tokenizer"]["same"]
    assert any(entry["option"] == "tokenizer.trained" for entry in result["recipe"])
    assert len(result["unknown_rate"]) == 2


def test_the_command_tells_and_with_check_answers(sets: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    base, seeded, again = str(sets["base"]), str(sets["seeded"]), str(sets["again"])
    assert diff([base, seeded]) == 0
    said = capsys.readouterr().out
    assert "not the same data" in said and "recipe: seed is 0 | 5" in said and "train samples: " in said
    assert diff([base, seeded, "--check"]) == EXIT_DIFFERENT
    assert diff([base, again, "--check"]) == 0
    capsys.readouterr()
    assert diff([base, str(sets["first"]), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["ok"] and report["figures"]["same"] is False


def test_a_set_that_is_not_whole_is_an_error(sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff([str(sets["base"]), str(tmp_path)]) == NotFoundError.exit_code
    folder = write_tiny_data(tmp_path / "set")
    shard = next(folder.glob("train-*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert diff([str(folder), str(folder)]) == IntegrityError.exit_code
    assert "Traceback" not in capsys.readouterr().err
