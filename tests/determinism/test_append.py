"""--append: new files come after what is there, which stays as it is; a recipe that differs is refused; all of it or nothing."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import EmptyCorpusError, InputError, RecipeError
from shards.errors import NotFoundError, UsageError
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.builds import build, build_text, data_files, write_corpus
from tests.helpers.commands import tree
from tests.helpers.crashpoints import dies_before

ADD = ("--append", "--name", "set", "--engine", "local")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def more(tmp_path: Path, corpus: Path) -> Path:
    """Two files that the data set does not have."""
    (tmp_path / "more").mkdir()
    text = (corpus / "text/0.txt").read_text()
    for name in ("x.txt", "y.txt"):
        (tmp_path / "more" / name).write_text(
            f"{name}是新的文件，叫Ａ。它有两句话。\n\n" + text[: len(text) // 2], encoding="utf-8"
        )
    return tmp_path / "more"


def append(cwd: Path, *arguments: str) -> int:
    return build(cwd, *ADD, *arguments)[0]


def read(cwd: Path) -> Manifest:
    return Manifest.read(cwd / "shards/set")


def test_new_shards_come_after_the_old_ones(tmp_path: Path, corpus: Path, more: Path) -> None:
    build_text(tmp_path, corpus)
    before, old_files = read(tmp_path), data_files(tmp_path)
    code, report = build(tmp_path, *ADD, "--input", str(more))
    assert code == 0 and report["figures"]["appended_files"] == 2
    after, files = read(tmp_path), data_files(tmp_path)
    assert after.shards[: len(before.shards)] == before.shards and len(after.shards) > len(before.shards)
    assert {name: files[name] for name in old_files} == old_files, "not a byte of what was there has changed"
    assert [e.path for e in after.corpus] == ["0.txt", "1.txt", "2.txt", "x.txt", "y.txt"]
    assert (after.tag, dict(after.recipe), after.tokenizer) == (before.tag, dict(before.recipe), before.tokenizer)
    assert after.fingerprint == report["fingerprint"] != before.fingerprint
    data_set = DataSet.open(tmp_path / "shards/set")
    data_set.verify()
    train = data_set.split("train")
    rows = train.take(np.arange(len(train)))
    assert set(rows.source_file.tolist()) == {0, 1, 2, 3, 4}
    assert len(rows.sample_id) == len(set(rows.sample_id.tolist())) == sum(after.length_histogram.values())
    assert after.tally.read == after.tally.kept + sum(after.tally.dropped.values()) > before.tally.read


def test_old_samples_keep_their_ids(tmp_path: Path, corpus: Path, more: Path) -> None:
    build_text(tmp_path, corpus)
    old = DataSet.open(tmp_path / "shards/set").split("train")
    before = old.take(np.arange(len(old)))
    assert append(tmp_path, "--input", str(more)) == 0
    new = DataSet.open(tmp_path / "shards/set").split("train")
    after = new.take(np.arange(len(old)))
    for name in ("sample_id", "tag", "ids", "offsets", "source_row"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_appending_again_passes_over_what_is_there(tmp_path: Path, corpus: Path, more: Path) -> None:
    build_text(tmp_path, corpus)
    assert append(tmp_path, "--input", str(more / "x.txt")) == 0
    first = read(tmp_path)
    code, report = build(tmp_path, *ADD, "--input", str(more / "x.txt"), str(more / "y.txt"))
    assert code == 0 and (report["figures"]["appended_files"], report["figures"]["skipped_files"]) == (1, 1)
    second = read(tmp_path)
    assert second.shards[: len(first.shards)] == first.shards and second.made["appends"] == 2
    changed = [manifest.made["rows_changed"]["fold_full_width@1"] for manifest in (first, second)]
    assert changed == [{"rows": 1, "places": ["x.txt:1"]}, {"rows": 2, "places": ["x.txt:1", "y.txt:1"]}]
    everything = tree(tmp_path / "shards/set")
    assert append(tmp_path, "--input", str(more)) == 0
    assert tree(tmp_path / "shards/set") == everything, "nothing to add, nothing changed"


def test_what_was_appended_is_known_to_a_rebuild(tmp_path: Path, corpus: Path, more: Path) -> None:
    build_text(tmp_path, corpus)
    assert append(tmp_path, "--input", str(more)) == 0
    note = (tmp_path / "shards/set" / read(tmp_path).made["units"]["file"]).read_text().splitlines()
    assert (
        build_text(tmp_path, corpus, "--overwrite", "--input", str(corpus / "text"))["figures"]["reused_units"] == len(note) - 2
    )


def test_a_recipe_that_differs_is_refused(tmp_path: Path, corpus: Path, more: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_text(tmp_path, corpus)
    before = tree(tmp_path / "shards")
    given = ("--input", str(more))
    agreeing = ("--max-seq-len", "64", "--segmenter", "rjieba", "--tokenizer", str(corpus / "vocab.txt"), "--heldout", "0.3")
    assert append(tmp_path, *given, *agreeing, "--seed", "4", "--layout", "full") == RecipeError.exit_code
    assert "other options: layout, seed" in capsys.readouterr().err
    vocabulary = tmp_path / "other.txt"
    vocabulary.write_text((corpus / "vocab.txt").read_text() + "龘\n", encoding="utf-8")
    assert append(tmp_path, *given, "--tokenizer", str(vocabulary)) == RecipeError.exit_code
    assert "another tokenizer" in capsys.readouterr().err
    assert tree(tmp_path / "shards") == before
    assert append(tmp_path, *given, *agreeing) == 0


def test_what_cannot_be_added_to_is_refused(tmp_path: Path, corpus: Path, more: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert append(tmp_path, "--input", str(more)) == NotFoundError.exit_code
    assert append(tmp_path) == append(tmp_path, "--overwrite", "--input", str(more)) == UsageError.exit_code
    build_text(tmp_path, corpus)
    before = tree(tmp_path / "shards")
    (more / "0.txt").write_text("别的内容。")
    assert append(tmp_path, "--input", str(more)) == InputError.exit_code
    assert "0.txt: the data set has a file of this path with other content" in capsys.readouterr().err
    (tmp_path / "blank.txt").write_text("\u200b\n")
    assert append(tmp_path, "--input", str(tmp_path / "blank.txt")) == EmptyCorpusError.exit_code
    assert tree(tmp_path / "shards") == before
    folder = tmp_path / "shards/set"
    manifest = Manifest.read(folder)
    Manifest(**{**vars(manifest), "recipe": dict(manifest.recipe) | {"deduplication": {"kind": "exact"}}}).commit(folder)
    assert append(tmp_path, "--input", str(more)) == RecipeError.exit_code
    assert "build anew from all files" in capsys.readouterr().err


def check_every(step: int, tmp_path: Path, corpus: Path, more: Path) -> int:
    build_text(tmp_path, corpus)

    def start(name: str) -> Path:
        shutil.copytree(tmp_path / "shards", tmp_path / name / "shards")
        return tmp_path / name

    old = read(start("old")).fingerprint
    assert append(start("whole"), "--input", str(more)) == 0
    expected, new = data_files(tmp_path / "whole"), read(tmp_path / "whole").fingerprint
    operation = visited = 0
    while dies_before(operation, partial(append, cwd := start(str(operation)), "--input", str(more))):
        visited += 1
        assert read(cwd).fingerprint in (old, new)
        DataSet.open(cwd / "shards/set").verify()
        assert append(cwd, "--input", str(more)) == 0
        assert read(cwd).fingerprint == new and data_files(cwd) == expected
        operation += step
    return visited


def test_killed_anywhere_it_is_the_old_set_or_the_new_one(tmp_path: Path, corpus: Path, more: Path) -> None:
    assert check_every(9, tmp_path, corpus, more) >= 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_every_operation_it_is_the_old_set_or_the_new_one(tmp_path: Path, corpus: Path, more: Path) -> None:
    assert check_every(1, tmp_path, corpus, more) >= 40
