"""A task's own texts as a corpus: training rows only, no labels, nothing of the rows that are scored, each text once."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.training_texts import main


@pytest.fixture
def titles(tmp_path: Path) -> Path:
    folder = tmp_path / "titles"
    folder.mkdir()
    (folder / "class.txt").write_text("体育\n财经\n", encoding="utf-8")
    (folder / "train.txt").write_text("甲 队\t0\n乙\u3000股\t1\n甲 队\t0\n丙\t1\n丁\t0\n", encoding="utf-8")
    (folder / "dev.txt").write_text("丙\t1\n戊\t0\n", encoding="utf-8")
    (folder / "test.txt").write_text("丁\t0\n己\t0\n", encoding="utf-8")
    return folder


def test_training_titles_without_what_is_scored(titles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "titles.txt"
    assert main(["--task", "thucnews_titles", "--data-dir", str(titles), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == "甲 队\n\n乙 股\n\n"
    assert "5 training rows, 2 different texts; 2 left out: also in dev rows" in capsys.readouterr().out


def test_a_file_that_is_there_stays(titles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.txt"
    out.write_text("mine", encoding="utf-8")
    assert main(["--task", "thucnews_titles", "--data-dir", str(titles), "--out", str(out)]) != 0
    assert out.read_text(encoding="utf-8") == "mine"
    assert "is there already" in capsys.readouterr().err


def test_tasks_go_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--task", "SST2", "--out", str(tmp_path / "x")]) != 0
    assert "'SST2'. Did you mean 'SST-2'?" in capsys.readouterr().err
