"""A row that breaks a stage, through the whole command: named and nothing committed, or set aside, counted and listed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.encode import Encoder
from pipeline.errors import StageError
from pipeline.plan import main as plan
from pipeline.vocab import main as train
from shards.manifest import Manifest
from tests.helpers.builds import OPTIONS, build, build_text, data_files, write_corpus
from tests.helpers.poison import POISON, add_poison, break_cleaning, rows_of_poison


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_corpus(tmp_path / "corpus", files=2)
    add_poison(folder / "text/1.txt")
    return folder


def places(corpus: Path) -> list[str]:
    return [f"1.txt:{row}" for row in rows_of_poison(corpus / "text/1.txt")]


def break_encoding(patch: pytest.MonkeyPatch) -> None:
    sound = Encoder.encode

    def fragile(self: Encoder, text: str, bounds: Any) -> Any:
        return sound(self, text, bounds) if POISON not in text else 1 // 0

    patch.setattr(Encoder, "encode", fragile)


@pytest.fixture(params=["clean", "encode"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stage that raises whenever it sees the poison."""
    {"clean": break_cleaning, "encode": break_encoding}[request.param](monkeypatch)
    return str(request.param)


def given(corpus: Path) -> list[str]:
    tokenizer = ("--tokenizer", str(corpus / "vocab.txt"))
    return ["--corpus", "text", "--name", "set", "--input", str(corpus / "text"), *tokenizer, *OPTIONS]


def test_it_is_named_and_nothing_is_committed(
    tmp_path: Path, corpus: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = build(tmp_path, *given(corpus))
    assert code == StageError.exit_code
    assert re.search(
        rf"error: stage {stage} failed on {re.escape(places(corpus)[0])} \(got ZeroDivisionError: .*--on-error quarantine",
        report["error"],
    )
    assert not list(tmp_path.rglob("manifest.json")) and "Traceback" not in capsys.readouterr().err


def test_set_aside_it_is_counted_and_listed(tmp_path: Path, corpus: Path, stage: str) -> None:
    assert build(tmp_path, *given(corpus))[0] == StageError.exit_code
    report = build_text(tmp_path, corpus, "--on-error", "quarantine")
    figures, manifest = report["figures"], Manifest.read(tmp_path / "shards/set")
    assert figures["reused_units"] > 0, "what was built before the row was met is not built again"
    assert figures["quarantined"] == figures["dropped"]["quarantined"] == 2
    assert figures["documents_read"] == figures["documents_kept"] + 2
    assert figures["rows_dropped"]["quarantined"] == 3
    assert [(q["where"], q["stage"]) for q in manifest.made["quarantine"]] == [(place, stage) for place in places(corpus)]
    assert manifest.recipe["on_error"] == "quarantine"
    # Taken over or built anew, with the stage still broken: the same bytes. Asked to stop, the set is no excuse not to.
    whole = data_files(tmp_path)
    assert build_text(tmp_path, corpus, "--on-error", "quarantine", "--overwrite")["figures"]["quarantined"] == 2
    assert data_files(tmp_path) == whole
    assert build(tmp_path, *given(corpus), "--overwrite")[0] == StageError.exit_code
    assert Manifest.read(tmp_path / "shards/set").fingerprint == manifest.fingerprint


def test_a_mended_stage_takes_the_row_back(tmp_path: Path, corpus: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_cleaning(patch)
        assert build_text(tmp_path, corpus, "--on-error", "quarantine")["figures"]["quarantined"] == 2
    assert build_text(tmp_path, corpus, "--overwrite")["figures"]["quarantined"] == 0


def test_a_unit_of_nothing_else_leaves_no_shard(tmp_path: Path, corpus: Path, stage: str) -> None:
    (corpus / "text/2.txt").write_text(POISON + "\n", encoding="utf-8")
    assert build_text(tmp_path, corpus, "--on-error", "quarantine")["figures"]["quarantined"] == 3


PASSES = {"vocabulary": ["--vocab-size", "300"], "deduplication": ["--deduplicate", "near"]}


@pytest.mark.parametrize("passes", PASSES)
def test_a_pass_before_the_build_names_it_as_well(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, passes: str
) -> None:
    break_cleaning(monkeypatch)
    code, report = build(tmp_path, *before(corpus, passes))
    assert code == StageError.exit_code, report
    assert f"stage clean failed on {places(corpus)[0]} (got ZeroDivisionError: " in report["error"]
    assert not list((tmp_path / "shards").rglob("unit-*.json")), "it stopped before the build"


@pytest.mark.parametrize("passes", PASSES)
def test_a_pass_before_the_build_leaves_it_out_and_the_build_counts_it_once(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, passes: str
) -> None:
    break_cleaning(monkeypatch)
    with open(corpus / "text/1.txt", "a", encoding="utf-8") as file:
        file.write(f"\n\n{POISON}\n")
    code, report = build(tmp_path, *before(corpus, passes), "--on-error", "quarantine")
    assert code == 0, report
    figures, manifest = report["figures"], Manifest.read(tmp_path / "shards/set")
    assert figures["quarantined"] == 3 and figures["dropped"] == {"quarantined": 3}, "and no copy among them is a duplicate"
    assert figures["documents_read"] == figures["documents_kept"] + sum(figures["dropped"].values())
    assert [q["where"] for q in manifest.made["quarantine"]] == places(corpus)
    # What is left is what there would be without those documents.
    text = (corpus / "text/1.txt").read_text(encoding="utf-8").replace(f"{POISON}\n第二行。\n", "").replace(f"{POISON}\n", "")
    (other := tmp_path / "other").mkdir()
    (corpus / "text/1.txt").write_text(text, encoding="utf-8")
    code, without = build(other, *before(corpus, passes))
    assert code == 0 and without["figures"]["documents_kept"] == figures["documents_kept"], without
    assert tokenizer_of(other) == tokenizer_of(tmp_path)


def before(corpus: Path, passes: str) -> list[str]:
    """A build with one of the passes that go before it."""
    if passes == "vocabulary":
        return ["--corpus", "text", "--name", "set", "--input", str(corpus / "text"), *OPTIONS, *PASSES[passes]]
    return [*given(corpus), *PASSES[passes]]


def tokenizer_of(cwd: Path) -> str:
    return Manifest.read(cwd / "shards/set").tokenizer.hash


def test_a_vocabulary_alone_is_trained_without_it_and_says_so(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_cleaning(monkeypatch)
    asked = ["--input", str(corpus / "text"), "--size", "300", "--json", "--out", str(tmp_path / "made")]
    assert train(asked) == StageError.exit_code and not (tmp_path / "made").exists()
    assert f"stage clean failed on {places(corpus)[0]} (got ZeroDivisionError" in capsys.readouterr().err
    assert train([*asked, "--on-error", "quarantine"]) == 0
    *lines, report = capsys.readouterr().out.splitlines()
    assert json.loads(report)["figures"]["quarantined"] == 2
    said = next(line for line in lines if "set aside" in line)
    assert all(place in said for place in places(corpus))


def test_a_prediction_names_it_or_counts_it(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_cleaning(monkeypatch)
    asked = ["--corpus", "text", "--input", str(corpus / "text"), "--vocab-size", "300", "--engine", "local", "--json"]
    assert plan(asked) == StageError.exit_code
    assert f"stage clean failed on {places(corpus)[0]} (got" in capsys.readouterr().err
    assert plan([*asked, "--on-error", "quarantine"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["dropped"]["quarantined"]["value"] == 2
