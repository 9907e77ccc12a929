"""The report: what it shows, that it escapes and loads nothing, tells a broken chain, and is a function of its files."""

from __future__ import annotations

import itertools
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.canonical import canonical_json, fingerprint
from shards.durable import hash_file
from shards.manifest import Manifest
from shards.page import page, tag, text
from tests.helpers.tiny_data import write_tiny_data
from workflows.curve import Panel, Series, draw, number, ticks
from workflows.errors import ReportError
from workflows.report import Report, write_report
from workflows.state import State
from workflows.steps import Step, StepResult

NASTY = "<script>alert('x')</script>&\"|词"
NOTE = "on <few> rows"
STEPS = ("build", "samples", "pretrain", "finetune", "fill")


def evaluation(step: int) -> dict[str, Any]:
    losses = {"loss": 6.7, "lm_loss": 6.0 - step / 100, "sop_loss": 0.69}
    accuracies = {"lm_accuracy": 0.125, "sop_accuracy": 0.625, "sop_lower_bound": 0.5}
    return losses | accuracies | {"rows": 8, "masked_tokens": 160, "pairs": 8}


def log_line(step: int) -> dict[str, Any]:
    rates = {"steps_per_s": 2.0, "samples_per_s": 64.0, "tokens_per_s": 4096.0, "data_wait_share": 0.004}
    counters = {"loss_scaling": 1.0, "num_good_steps": step, "num_bad_steps": 0}
    return {"step": step, "loss": 7.0, "lm_loss": 6.3 - step / 100, "sop_loss": 0.7, "lr": 1e-3 * step / 50} | rates | counters


def write_run(folder: Path, data_fingerprint: str) -> str:
    """Write a finished run in the documented format; return its checkpoint's fingerprint."""
    checkpoint = folder / "checkpoints" / "step-00000050"
    checkpoint.mkdir(parents=True)
    (checkpoint / "integrity.json").write_bytes(canonical_json({"format": 1, "step": 50, "files": {}}))
    found = hash_file(checkpoint / "integrity.json").sha256
    record = {
        "state": "finished",
        "checkpoint_fingerprint": found,
        "config": {"model": "roformer-tiny", "global_batch": 32, "objective": "mlm-sop"},
        "network": {"architecture": "roformer", "num_layers": 4, "hidden_size": 256, "num_heads": 4, "vocab_size": 5000},
        "schedule": {"kind": "linear", "max_lr": 1e-3, "min_lr": 1e-5, "warmup_steps": 5, "max_steps": 50},
        "data": [{"name": "tiny", "path": "tiny", "fingerprint": data_fingerprint, "rows": 48}],
        "device": "cpu",
        "ranks": 1,
        "versions": {"paddlepaddle": "3.3.1"},
    }
    (folder / "run.json").write_text(json.dumps(record))
    lines = [log_line(10), log_line(20), {"step": 20, "eval": evaluation(20)}, log_line(50), {"step": 50, "eval": evaluation(50)}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def write_score(path: Path, checkpoint: str) -> str:
    row = {
        "task": "SST-2",
        "metrics": {"acc": 0.75},
        "seeds": [0, 1],
        "mean": {"acc": 0.75},
        "sd": {"acc": 0.0283},
        "median": {"acc": 0.75},
        "best": {"acc": 0.8125, "seed": 1, "step": 30},
        "model": NASTY,
        "checkpoint_fingerprint": checkpoint,
        "data_fingerprint": "d" * 64,
        "settings": {"epochs": 3, "eval_steps": None},
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row))
    return fingerprint(row)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder in which every step of a quickstart has succeeded."""
    out = tmp_path / "out"
    data, run, score = out / "shards" / "tiny", out / "runs" / "one", out / "results" / "SST-2" / "one-12345678" / "score.json"
    write_tiny_data(data)
    data_fingerprint = Manifest.read(data).fingerprint
    checkpoint = write_run(run, data_fingerprint)
    sample = {"row": 7, "source": NASTY, "tokens": 5, "split": 2, "text": f"水|果‖{NASTY}|甜"}
    masks = [{"index": 0, "candidates": [{"token": "天气", "probability": 0.25}, {"token": NASTY, "probability": 0.125}]}]
    filling = {"text": f"今天[MASK]很好{NASTY}", "filled": "-", "masks": masks}
    state = State(out, "quickstart")
    finish(state, "build", "pipeline.build", {"outputs": [str(data)], "fingerprint": data_fingerprint})
    finish(state, "samples", "pipeline.inspect", {"outputs": [], "figures": {"samples": [sample]}})
    finish(state, "pretrain", "pretrain.run", {"outputs": [str(run)], "fingerprint": checkpoint})
    finish(state, "finetune", "finetune.glue", {"outputs": [str(score)], "fingerprint": write_score(score, checkpoint)})
    finish(state, "fill", "pretrain.fill_mask", {"outputs": [], "figures": filling, "fingerprint": checkpoint})
    return out


def finish(state: State, name: str, module: str, report: Mapping[str, Any]) -> None:
    step = Step(name=name, module=module, argv=(NASTY,), note=NOTE if module == "finetune.glue" else "")
    state.finish(step, state.identity(step), StepResult(report=report, elapsed_s=12.5))


def written(out: Path) -> Report:
    return write_report("quickstart", State(out, "quickstart"), STEPS)


class Elements(HTMLParser):
    """Checks that elements are closed in order; collects tags, attributes and text."""

    VOID = ("meta",)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def test_it_shows_the_figures_and_the_whole_chain(out: Path) -> None:
    report = written(out)
    source = report.path.read_text("utf-8")
    shown = Elements(source)
    manifest = Manifest.read(out / "shards" / "tiny")
    score = json.loads((out / "results/SST-2/one-12345678/score.json").read_text())
    for whole in (manifest.recipe_hash, manifest.fingerprint, manifest.corpus[0].sha256, score["checkpoint_fingerprint"]):
        assert whole in source
        assert whole[:12] in shown.text
    assert fingerprint(score) in source
    for figure in (
        "0.750",
        "± 0.028",
        "0.8125",
        "5.50",
        "12.5%",
        "62.5%",
        "50.0%",
        "48 to train on, 8 held out",
        "roformer-tiny",
    ):
        assert figure in shown.text, figure
    for words in ("天气", "25.0%", "3.3.1", "1.0 min", NOTE, "row 7", "sop_loss", "Learning rate", "uniform guess"):
        assert words in shown.text, words
    assert "✗" not in shown.text
    assert report.headline == {
        "lm_loss": 5.5,
        "lm_accuracy": 0.125,
        "sop_loss": 0.69,
        "sop_accuracy": 0.625,
        "SST-2 acc": 0.75,
    }


def test_words_and_segments_are_marked(out: Path) -> None:
    source = written(out).path.read_text("utf-8")
    assert '<span class="w">水</span><span class="w">果</span>' in source
    assert '<span class="tag">A</span>' in source
    assert '<span class="tag">B</span>' in source


def test_everything_foreign_is_escaped(out: Path) -> None:
    shown = Elements(written(out).path.read_text("utf-8"))
    assert "script" not in shown.tags
    assert shown.text.count("<script>alert('x')</script>") >= 4


def test_it_loads_nothing(out: Path) -> None:
    source = written(out).path.read_text("utf-8")
    shown = Elements(source)
    names = {name for name, _ in shown.attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "xlink:href"}
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(shown.tags)
    for reference in ("url(", "@import", "http:", "https:", "//cdn"):
        assert reference not in source, reference
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in shown.attributes


def test_made_again_it_is_the_same_and_is_not_written(out: Path) -> None:
    first = written(out)
    data = first.path.read_bytes()
    second = written(out)
    assert (first.written, second.written) == (True, False)
    assert second.path.read_bytes() == data
    assert first.fingerprint == second.fingerprint


def test_a_score_of_another_checkpoint_is_told(out: Path) -> None:
    path = out / "results/SST-2/one-12345678/score.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"checkpoint_fingerprint": "e" * 64}))
    assert "✗ not of the checkpoint above" in Elements(written(out).path.read_text("utf-8")).text


def test_a_run_on_another_data_set_is_told(out: Path) -> None:
    path = out / "runs/one/run.json"
    record = json.loads(path.read_text())
    record["data"][0]["fingerprint"] = "e" * 64
    path.write_text(json.dumps(record))
    assert "✗ not trained on the data set above" in Elements(written(out).path.read_text("utf-8")).text


def test_a_recipe_without_training_has_no_curve(out: Path) -> None:
    report = write_report("quickstart", State(out, "quickstart"), ("build", "samples"))
    shown = Elements(report.path.read_text("utf-8"))
    assert "svg" not in shown.tags
    assert "Score" not in shown.text
    assert report.headline == {}


def test_a_single_seed_has_no_spread(out: Path) -> None:
    path = out / "results/SST-2/one-12345678/score.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"seeds": [0], "sd": {"acc": None}}))
    assert "one seed" in Elements(written(out).path.read_text("utf-8")).text


def test_masked_words_alone_have_no_order_panel(out: Path) -> None:
    run = out / "runs/one"
    record = json.loads((run / "run.json").read_text())
    record["config"]["objective"] = "mlm"
    (run / "run.json").write_text(json.dumps(record))
    alone = evaluation(50) | {"sop_loss": None, "sop_accuracy": None, "sop_lower_bound": None, "pairs": 0}
    lines = [log_line(50), {"step": 50, "eval": alone}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = Elements(written(out).path.read_text("utf-8")).text
    assert "Sentence-order loss" not in shown
    assert "sentence orders right" not in shown


def test_a_checkpoint_that_was_changed_is_told(out: Path) -> None:
    path = out / "runs/one/checkpoints/step-00000050/integrity.json"
    path.write_bytes(canonical_json({"format": 1, "step": 50, "files": {}, "more": 1}))
    with pytest.raises(ReportError, match="not the one the run finished with"):
        written(out)


@pytest.mark.parametrize("line", ["{", "[]", '{"loss": 1}', "NaN"])
def test_a_broken_log_is_named_with_its_line(out: Path, line: str) -> None:
    path = out / "runs/one/metrics.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ReportError, match=r"metrics\.jsonl:6"):
        written(out)


def test_a_result_without_what_is_shown_is_an_error_and_leaves_the_old_report(out: Path) -> None:
    before = written(out).path.read_bytes()
    path = out / "results/SST-2/one-12345678/score.json"
    row = json.loads(path.read_text())
    del row["seeds"]
    path.write_text(json.dumps(row))
    with pytest.raises(ReportError, match="seeds"):
        written(out)
    assert (out / "report.html").read_bytes() == before


def test_helpers_escape_strings_and_keep_html() -> None:
    assert text("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert text(None) == "–"
    assert tag("p", tag("b", "<"), 3, title='"') == '<p title="&quot;"><b>&lt;</b>3</p>'
    assert "<title>&lt;i&gt;</title>" in page("<i>")


@given(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(0, 1e6, allow_nan=False),
    st.integers(1, 12),
)
def test_ticks_cover_the_range_evenly(low: float, span: float, about: int) -> None:
    high = low + span
    found = ticks(low, high, about)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 2 * about + 4
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert max(steps) - min(steps) <= slack
    assert min(steps) > 0


def test_ticks_are_round() -> None:
    assert ticks(0, 400, 8) == [0, 50, 100, 150, 200, 250, 300, 350, 400]
    assert ticks(5.3, 8.6, 4) == [5, 6, 7, 8, 9]
    assert ticks(0.0, 1e-3, 2) == [0.0, 0.0005, 0.001]


def test_numbers_are_short() -> None:
    assert [number(v) for v in (0.0, 400.0, 0.25, 0.0005, 0.001, 12345.0, -3.0)] == [
        "0",
        "400",
        "0.25",
        "5e-4",
        "1e-3",
        "12,345",
        "-3",
    ]


def test_points_lie_where_their_values_are() -> None:
    points = [(0.0, 1.0), (50.0, 3.0), (100.0, 2.0)]
    panel = Panel(
        title="a < b", series=(Series(label="x & y", style="a", points=points, markers=True),), references=(("ref", 2.0),)
    )
    root = ElementTree.fromstring(draw([panel], x_label="step"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    dots = root.findall("circle")
    xs, ys = ([float(dot.attrib[name]) for dot in dots] for name in ("cx", "cy"))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[1] < ys[2] < ys[0]
    assert ys[2] == pytest.approx((ys[0] + ys[1]) / 2, abs=0.2)
    reference = next(line for line in root.findall("line") if line.attrib["class"] == "reference")
    assert float(reference.attrib["y1"]) == pytest.approx(ys[2], abs=0.2)
    assert all(0 <= x <= width for x in xs)
    assert all(0 <= y <= height for y in ys)
    titles = [dot.findtext("title") for dot in dots]
    assert titles[1] == "x & y, step 50: 3"


def test_nothing_to_draw_is_no_picture() -> None:
    assert draw([], x_label="step") == ""
    assert draw([Panel(title="t", series=(Series(label="l", style="a", points=()),))], x_label="step") == ""


def test_a_flat_line_and_a_single_point_can_be_drawn() -> None:
    for points in ([(10.0, math.log(2))], [(0.0, 0.0), (1.0, 0.0)], [(1.0, -5.0), (2.0, -5.0)]):
        root = ElementTree.fromstring(
            draw([Panel(title="t", series=(Series(label="l", style="a", points=points),))], x_label="x")
        )
        line = root.find("polyline")
        assert line is not None
        assert all(math.isfinite(float(v)) for place in line.attrib["points"].split() for v in place.split(","))
