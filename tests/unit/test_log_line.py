"""The log line is the published one, character for character; metrics.jsonl has each step once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from pretrain.evaluate import Evaluation, wilson_lower_bound
from pretrain.log_line import METRICS, StepRecord, append_metrics, cut_metrics, read_metrics, stamped

PUBLISHED = (
    "[2022-02-05 16:05:59,067] [    INFO] - global step 170100, loss: 2.651634932, lm_loss: 2.603405, sop_loss: 0.048229, "
    "speed: 1.06 steps/s, ips: 271.68 seqs/s, learning rate: 6.66465e-05, loss_scaling: 137438.96875, num_good_steps: 356, "
    "num_bad_steps: 0"
)
RECORD = StepRecord(
    step=170100, loss=2.651634932, lm_loss=2.603405, sop_loss=0.048229, lr=6.66465e-05, loss_scaling=137438.96875,
    num_good_steps=356, num_bad_steps=0, steps_per_s=1.06, samples_per_s=271.68, tokens_per_s=139100.4, data_wait_share=0.0042,
    memory_mb=1234.4,
)  # fmt: skip


def test_line_begins_with_the_published_line_and_ends_with_our_fields() -> None:
    line = stamped(RECORD.line(), datetime(2022, 2, 5, 16, 5, 59, 67_000))
    assert line == PUBLISHED + ", tokens_per_s: 139100, data_wait: 0.4%, memory: 1234 MB"


def test_without_mixed_precision_and_sentence_order_the_fields_stay() -> None:
    line = replace(RECORD, loss_scaling=1.0, sop_loss=0.0).line()
    assert "sop_loss: 0.000000," in line
    assert "loss_scaling: 1.0," in line


def test_the_loss_of_replaced_tokens_stands_last_where_there_is_one() -> None:
    record = replace(RECORD, rtd_loss=0.25)
    assert record.line() == RECORD.line() + ", rtd_loss: 0.250000"
    assert record.to_json() == RECORD.to_json() | {"rtd_loss": 0.25}


def test_utilisation_is_shown_where_the_peak_is_known() -> None:
    assert replace(RECORD, mfu=0.3125).line() == RECORD.line() + ", mfu: 31.2%"
    assert replace(RECORD, mfu=0.3125).to_json() == RECORD.to_json() | {"mfu": 0.3125}


def test_metrics_have_the_documented_keys(tmp_path: Path) -> None:
    append_metrics(tmp_path, RECORD.to_json())
    assert set(json.loads((tmp_path / METRICS).read_text())) == {
        "step", "loss", "lm_loss", "sop_loss", "lr", "loss_scaling", "num_good_steps", "num_bad_steps", "steps_per_s",
        "samples_per_s", "tokens_per_s", "data_wait_share", "memory_mb",
    }  # fmt: skip


def test_cutting_back_keeps_what_came_up_to_the_step(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        append_metrics(tmp_path, {"step": step, "loss": 1.0})
    append_metrics(tmp_path, {"step": 15, "eval": {}})
    cut_metrics(tmp_path, 12)
    assert [r["step"] for r in read_metrics(tmp_path)] == [5, 10]


def test_a_half_written_last_line_is_passed_over_and_cut(tmp_path: Path) -> None:
    append_metrics(tmp_path, {"step": 5, "loss": 1.0})
    with open(tmp_path / METRICS, "ab") as file:
        file.write(b'{"step": 10, "lo')
    assert [r["step"] for r in read_metrics(tmp_path)] == [5]
    cut_metrics(tmp_path, 100)
    append_metrics(tmp_path, {"step": 10, "loss": 2.0})
    assert [r["step"] for r in read_metrics(tmp_path)] == [5, 10]


def test_no_metrics_is_no_error(tmp_path: Path) -> None:
    cut_metrics(tmp_path, 3)
    assert read_metrics(tmp_path) == []


def test_evaluation_line() -> None:
    evaluation = Evaluation(
        rows=8,
        masked_tokens=20,
        lm_loss=2.5,
        lm_accuracy=0.25,
        pairs=8,
        sop_loss=0.5,
        sop_accuracy=0.75,
        sop_lower_bound=0.4092756,
    )
    assert evaluation.line(40) == (
        "eval step 40, lm_loss: 2.500000, lm_acc: 0.2500, sop_acc: 0.7500 (n=8, 95 % lower bound 0.4093)"
    )


@pytest.mark.parametrize(("correct", "count", "expected"), [(6, 8, 0.4093), (0, 8, 0.0), (8, 8, 0.6756), (0, 0, 0.0)])
def test_wilson_bound_against_published_values(correct: int, count: int, expected: float) -> None:
    assert wilson_lower_bound(correct, count) == pytest.approx(expected, abs=5e-5)
