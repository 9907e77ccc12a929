"""A row that breaks a stage, through the whole command: named and nothing committed, or set aside, counted and listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.documents import Document
from pipeline.encode import Encoder
from pipeline.errors import StageError
from pipeline.stages import Clean
from shards.manifest import Manifest
from tests.helpers.builds import OPTIONS, build, build_text, data_files, write_corpus

POISON = "毒药在这里。"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_corpus(tmp_path / "corpus", files=2)
    with open(folder / "text/1.txt", "a", encoding="utf-8") as file:
        file.write(f"\n\n{POISON}\n第二行。\n\n最后一篇。很好。\n\n{POISON}\n")
    return folder


def rows_of_poison(corpus: Path) -> list[int]:
    lines = (corpus / "text/1.txt").read_text(encoding="utf-8").split("\n")
    return [number for number, line in enumerate(lines, 1) if line == POISON]


def break_cleaning(patch: pytest.MonkeyPatch) -> None:
    """Break the stage for one document and for many at once: `run_stages` calls the latter, the guard falls back to the former."""
    alone, of_many = Clean.__call__, Clean.of_many

    def fragile(self: Clean, document: Document) -> Any:
        return alone(self, document) if POISON not in document.text else 1 // 0

    def fragile_of_many(self: Clean, documents: Sequence[Document]) -> Any:
        return of_many(self, documents) if not any(POISON in document.text for document in documents) else 1 // 0

    patch.setattr(Clean, "__call__", fragile)
    patch.setattr(Clean, "of_many", fragile_of_many)


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
    first = rows_of_poison(corpus)[0]
    code, report = build(tmp_path, *given(corpus))
    assert code == StageError.exit_code
    assert re.search(
        rf"error: stage {stage} failed on 1\.txt:{first} \(got ZeroDivisionError: .*--on-error quarantine", report["error"]
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
    assert [(q["where"], q["stage"]) for q in manifest.made["quarantine"]] == [
        (f"1.txt:{row}", stage) for row in rows_of_poison(corpus)
    ]
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
