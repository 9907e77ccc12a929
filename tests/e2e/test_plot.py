"""``python -m pretrain.plot``: pictures that hold what was recorded, a page that needs nothing else, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pretrain.plot import HTML, PNG, build_parser, draw, page, read_runs
from shards.errors import NotFoundError
from tests.helpers.commands import error_of, flags, run


def write_run(folder: Path, *, steps: int = 12, loss: float = 5.0) -> Path:
    folder.mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        values = {"loss": loss / step, "lm_loss": loss / step, "sop_loss": 0.0, "lr": 1e-4, "samples_per_s": 100.0}
        lines.append({"step": step, **values})
        if step % 4 == 0:
            evaluation = {"loss": loss / step, "lm_loss": loss / step, "lm_accuracy": step / 100, "sop_loss": None}
            lines.append({"step": step, "eval": evaluation})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_picture_and_a_page_are_written(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", steps=300, loss=4.0)
    ran = run("pretrain.plot", "runs/a", "runs/b", "--out", "pictures", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["outputs"] == [f"pictures/{PNG}", f"pictures/{HTML}"]
    assert ran.json["figures"]["runs"]["b"]["records"] == 300 and ran.json["figures"]["runs"]["b"]["evaluations"] == 75
    assert (tmp_path / "pictures" / PNG).read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "pictures" / HTML).read_text(encoding="utf-8")
    assert "<svg" in text and "<td>a</td>" in text and "<td>b</td>" in text and "samples/s" in text
    # Nothing is loaded from anywhere: the only addresses are names of XML namespaces.
    assert not re.findall(r"<(?:script|link|img|iframe|!DOCTYPE svg)", text)
    assert set(re.findall(r'https?://[^"\s<]+', text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_equal_runs_give_equal_pictures(tmp_path: Path) -> None:
    runs = read_runs([str(write_run(tmp_path / "a"))])
    assert draw(runs, "png") == draw(runs, "png")
    assert draw(runs, "svg") == draw(runs, "svg")


def test_awkward_names_are_shown_as_they_are(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name / "same") for name in ("<b>", "$x_1$", "模型", "_hidden")]
    runs = read_runs([str(f) for f in folders])
    assert len({r.name for r in runs}) == 4
    assert draw(runs, "png")
    assert "&lt;b&gt;" in page(runs, "<svg/>") and "<b>" not in page(runs, "<svg/>")


def test_a_run_with_one_line_or_evaluations_only_can_be_drawn(tmp_path: Path) -> None:
    for content in ({"step": 1, "loss": 2.0}, {"step": 3, "eval": {"loss": 2.0, "lm_accuracy": 0.5}}):
        folder = tmp_path / str(content["step"])
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(json.dumps(content) + '\n{"step": 4, "lo')
        runs = read_runs([str(folder)])
        assert draw(runs, "png") and "<table>" in page(runs, "")


def test_runs_without_metrics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "good")
    error_of(run("pretrain.plot", "good", "empty", cwd=tmp_path), 5, "empty/metrics.jsonl", "has no metrics", "--logging-steps")
    assert not (tmp_path / "plots").exists()
    with pytest.raises(NotFoundError, match="no such run"):
        read_runs([str(tmp_path / "absent")])


def test_flags() -> None:
    assert flags(build_parser()) == ["--debug", "--help", "--json", "--out"]
