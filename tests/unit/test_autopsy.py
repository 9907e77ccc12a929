"""What a training log proves: the schedule behind its rates, the skips behind its counters, and what it does not hold."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pretrain.autopsy import build_parser, main, scaler_report, steps_report, throughput_report
from pretrain.log_line import StepRecord, stamped
from pretrain.log_reader import read_log
from pretrain.round_numbers import evenest_integer, roundest, roundest_integer, significant_digits
from pretrain.scaler_history import as_product, float32_product, skips
from pretrain.schedule import Schedule
from pretrain.schedule_fit import fit_schedules, rates_of
from shards.errors import FormatError, NotFoundError
from tests.helpers.commands import error_of, flags, run

# Six lines of a published run (RoFormer-base, whole word masking, CLUECorpusSmall).
PADDLENLP = """\
[2022-02-05 16:05:59,067] [    INFO] - global step 170100, loss: 2.651634932, lm_loss: 2.603405, sop_loss: 0.048229, speed: 1.06 steps/s, ips: 271.68 seqs/s, learning rate: 6.66465e-05, loss_scaling: 137438.96875, num_good_steps: 356, num_bad_steps: 0
[2022-02-05 16:07:28,227] [    INFO] - global step 170200, loss: 2.822231531, lm_loss: 2.662831, sop_loss: 0.159401, speed: 1.12 steps/s, ips: 287.13 seqs/s, learning rate: 6.66263e-05, loss_scaling: 137438.96875, num_good_steps: 59, num_bad_steps: 0
[2022-02-05 16:08:57,346] [    INFO] - global step 170300, loss: 2.710968971, lm_loss: 2.673646, sop_loss: 0.037323, speed: 1.12 steps/s, ips: 287.26 seqs/s, learning rate: 6.66061e-05, loss_scaling: 137438.96875, num_good_steps: 159, num_bad_steps: 0
[2022-02-05 16:10:26,698] [    INFO] - global step 170400, loss: 2.867662907, lm_loss: 2.619032, sop_loss: 0.248631, speed: 1.12 steps/s, ips: 286.51 seqs/s, learning rate: 6.65859e-05, loss_scaling: 137438.96875, num_good_steps: 259, num_bad_steps: 0
[2022-02-05 16:11:55,714] [    INFO] - global step 170500, loss: 3.158756495, lm_loss: 2.953678, sop_loss: 0.205079, speed: 1.12 steps/s, ips: 287.59 seqs/s, learning rate: 6.65657e-05, loss_scaling: 137438.96875, num_good_steps: 359, num_bad_steps: 0
[2022-02-05 16:13:24,869] [    INFO] - global step 170600, loss: 2.860815048, lm_loss: 2.754750, sop_loss: 0.106064, speed: 1.12 steps/s, ips: 287.14 seqs/s, learning rate: 6.65455e-05, loss_scaling: 137438.96875, num_good_steps: 33, num_bad_steps: 0
"""


@pytest.fixture
def paddlenlp(tmp_path: Path) -> Path:
    path = tmp_path / "seed.log"
    path.write_text(PADDLENLP, encoding="utf-8")
    return path


def test_the_published_log_decays_linearly_to_zero(paddlenlp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tokens-per-sample", "512", "--params", "85e6", "--peak-flops", "500e12"]
    assert main([str(paddlenlp), *arguments]) == 0
    out = capsys.readouterr().out
    assert "linear decay to zero over 500,000 steps from 0.0001 with 5,000 steps of warm-up (1 %)" in out
    assert "137438.96875 = 32768·2⁴·0.8⁶ (to the last bit of float32)" in out
    assert "cannot be told apart here: cosine, linear" in out
    assert "the last at step 170,141" in out and "the last at step 170,567" in out
    assert "global batch: 256" in out and "tokens/s: 147,0" in out and "MFU: 15.0 %" in out


def test_the_report_as_json(paddlenlp: Path) -> None:
    figures = run("pretrain.autopsy", str(paddlenlp), "--json", cwd=paddlenlp.parent).json["figures"]
    best = figures["schedule"]["best"]
    assert (best["kind"], best["horizon"], best["peak"], best["floor"], best["warmup_share"]) == (
        "linear",
        500_000,
        1e-4,
        0,
        0.01,
    )
    low, high = best["horizon_range"]
    assert 499_000 < low < 500_000 < high < 501_000
    assert figures["scaler"]["skipped_at_least"] == 2 and figures["scaler"]["skipped_before_at_least"] == 12
    assert figures["losses"]["lm_loss"]["mean"] == pytest.approx(2.71122, abs=1e-4)


def printed(rate: float) -> tuple[float, float]:
    text = f"{rate:.5e}"
    return float(text), 0.5 * 10.0 ** (int(text.split("e")[1]) - 5) + 1.2e-7 * rate


@pytest.mark.parametrize(
    ("schedule", "every", "last"),
    [
        (Schedule(kind="linear", max_lr=1e-2, min_lr=1e-3, warmup_steps=1, max_steps=12), 1, 12),
        (Schedule(kind="linear", max_lr=2.5e-4, min_lr=1e-5, warmup_steps=30, max_steps=251), 7, 251),
        (Schedule(kind="cosine", max_lr=1e-4, min_lr=1e-5, warmup_steps=10, max_steps=1000), 20, 1000),
        (Schedule(kind="cosine", max_lr=3e-4, min_lr=1e-5, warmup_steps=200, max_steps=20_000), 100, 9000),
        (Schedule(kind="wsd", max_lr=1e-4, min_lr=1e-5, warmup_steps=50, max_steps=5000), 20, 5000),
        (Schedule(kind="constant", max_lr=1e-4, min_lr=1e-5, warmup_steps=50, max_steps=5000), 1, 400),
    ],
    ids=lambda value: value.kind if isinstance(value, Schedule) else str(value),
)
def test_our_own_schedules_are_found_from_the_printed_digits(schedule: Schedule, every: int, last: int) -> None:
    steps = sorted({*range(every, last + 1, every), last})
    rates, errors = zip(*(printed(schedule.rate(step)) for step in steps), strict=True)
    best = fit_schedules(rates_of(steps, rates, errors))[0]
    assert best.fits and best.kind == schedule.kind
    assert best.peak == pytest.approx(schedule.max_lr, rel=1e-5)
    assert best.warmup_steps == schedule.warmup_steps
    if schedule.kind != "constant":
        assert best.horizon == schedule.max_steps
        assert best.floor == pytest.approx(schedule.min_lr, rel=1e-4)


def test_rates_of_no_known_shape_are_said_to_fit_none() -> None:
    steps = list(range(100, 2100, 100))
    best = fit_schedules(rates_of(steps, [1e-4 / step for step in steps], [1e-12] * len(steps)))[0]
    assert not best.fits and best.worst_error > 100 and best.reproduced_share < 1


def record(step: int, **changes: float) -> StepRecord:
    values: dict[str, float] = {
        "loss": 2.0, "lm_loss": 1.5, "sop_loss": 0.5, "lr": 1e-4, "loss_scaling": 1.0, "num_good_steps": step, "num_bad_steps": 0,
        "steps_per_s": 2.0, "samples_per_s": 64.0, "tokens_per_s": 8192.0, "data_wait_share": 0.0, "memory_mb": 100.0, **changes,
    }  # fmt: skip
    return StepRecord(step=step, **values)  # type: ignore[arg-type]


def test_our_log_and_our_metrics_say_the_same(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1)
    records = [record(step, mfu=0.25) for step in (20, 40, 60)]
    lines = [stamped(r.line(), start + timedelta(seconds=r.step / 2)) for r in records]
    (tmp_path / "a.log").write_text("data: tiny\n" + "\n".join(lines) + "\nfinished\n")
    evaluation = json.dumps({"step": 60, "eval": {"loss": 2.0}})
    (tmp_path / "metrics.jsonl").write_text("\n".join([*(json.dumps(r.to_json()) for r in records), evaluation]) + "\n")
    text, metrics = read_log(tmp_path / "a.log"), read_log(tmp_path / "metrics.jsonl")
    assert [s.step for s in text.steps] == [s.step for s in metrics.steps] == [20, 40, 60]
    assert (text.bad_lines, metrics.bad_lines, metrics.evaluations) == ((), (), 1)
    for log in (text, metrics):
        report = throughput_report(log, tokens_per_sample=None, params=None, peak_flops=None)
        assert report["global_batch"] == 32 and report["tokens_per_s"]["median"] == 8192 and report["mfu"]["median"] == 0.25
        scaler = scaler_report(log, init_scale=32768, growth_steps=1000)
        assert scaler["is_off"] and scaler["skipped_at_least"] == 0
    assert throughput_report(text, tokens_per_sample=None, params=None, peak_flops=None)["steps_per_s_by_clock"] == 2.0


@pytest.mark.parametrize(
    "damage",
    [
        "global step 7",
        "global step 7, loss",
        "global step 7, loss: two",
        "global step 7, loss: 2.0, learning rate: nan",
        "global step 7, loss: 2.0, lm_loss",
        "global step 7, lm_loss: 2.0",
        "global step 7, loss: 2.0, num_good_steps: 1.5, num_bad_steps: 0, learning rate: -1",
        "global step 99999999999999999999, loss: 2.0",
        "[9999-99-99 00:00:00,000] global step 7, loss: 2.0",
        '{"step": 7, "loss": "two"}',
        '{"step": true, "loss": 2.0}',
        '{"step": 7, "lo',
        "global step " + "9" * 100_000,
        "global step 7, loss: 2.0 \x00\x00, ips: \udcff",
    ],
)
def test_damaged_lines_are_counted_and_the_others_used(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(f"{damage}\nglobal step 8, loss: nan, ips: 3.0 seqs/s\n".encode("utf-8", errors="surrogateescape"))
    log = read_log(path)
    assert ([s.step for s in log.steps], log.bad_lines) == ([8], (1,))


def test_a_log_without_any_line_is_an_error(tmp_path: Path) -> None:
    for name, content in (("empty.log", b""), ("other.log", b"hello\n\xff\xfe\n"), ("bad.log", b"global step 1, lo")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match="holds no line of a training log"):
            read_log(tmp_path / name)
    with pytest.raises(NotFoundError):
        read_log(tmp_path / "absent.log")
    error_of(run("pretrain.autopsy", "empty.log", cwd=tmp_path), 3, "empty.log", "holds no line")


def test_the_folder_of_a_run_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = Schedule(kind="cosine", max_lr=1e-3, min_lr=1e-4, warmup_steps=2, max_steps=40)
    lines = [json.dumps(record(step, lr=schedule.rate(step)).to_json()) for step in range(1, 41)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "schedule: cosine decay to 0.0001 over 40 steps from 0.001 with 2 steps of warm-up (5 %)" in out
    assert "every printed digit of 40 rates is reproduced, with no other horizon" in out


def test_gaps_and_resumes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"global step {s}, loss: 2.0\n" for s in (10, 20, 30, 60, 70, 50, 60, 70)))
    report = steps_report(read_log(path))
    assert (report["interval"], report["gap_count"], report["repeat_count"]) == (10, 1, 1)
    assert report["gaps"] == [{"after_step": 30, "before_step": 60, "line": 4}]
    assert report["repeats"] == [{"after_step": 70, "again_from": 50, "line": 6}]


def scaler_log(tmp_path: Path, rows: list[tuple[int, float, int, int]]) -> Path:
    path = tmp_path / "scaler.log"
    path.write_text(
        "".join(
            f"global step {s}, loss: 2.0, loss_scaling: {x}, num_good_steps: {g}, num_bad_steps: {b}\n" for s, x, g, b in rows
        )
    )
    return path


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(100, 32768.0, 100, 0), (200, 32768.0, 200, 0)], []),
        ([(900, 32768.0, 900, 0), (1100, 65536.0, 100, 0)], []),  # a growth clears the counter too
        ([(100, 32768.0, 100, 0), (200, 32768.0, 40, 0)], [(1, 160)]),
        ([(100, 32768.0, 100, 0), (200, 26214.40039, 40, 0)], [(2, 160)]),
        ([(100, 32768.0, 100, 0), (200, 26214.40039, 0, 1)], [(3, 200)]),
        ([(900, 32768.0, 900, 0), (1200, 65536.0, 50, 0)], [(1, None)]),
        ([(100, 32768.0, 0, 1), (101, 26214.40039, 0, 0)], [(1, 101)]),  # the first line counts half of the back-off
    ],
)
def test_skips_follow_from_the_counters(tmp_path: Path, rows: list[tuple[int, float, int, int]], expected: list[object]) -> None:
    found = skips(read_log(scaler_log(tmp_path, rows)).steps, 1000)
    assert [(skip.at_least, skip.last) for skip in found] == expected


def test_a_scale_is_a_product_of_its_growths_and_back_offs() -> None:
    for growths in range(-3, 8):
        for back_offs in range(12):
            assert as_product(float32_product(32768, growths, back_offs), 32768) == (growths, back_offs)
    assert float32_product(32768, 4, 6) == 137438.96875
    assert as_product(50000.0, 32768) is None and as_product(0.0, 32768) is None


def test_round_numbers() -> None:
    assert [significant_digits(x) for x in (0, 1e-4, 500_000, 1.0101e-4)] == [0, 1, 1, 5]
    assert roundest(9.99999e-5, 1.00001e-4) == 1e-4
    assert roundest_integer(499_655.01, 500_412.2) == 500_000
    assert roundest_integer(3.2, 3.8) is None
    assert evenest_integer(255.2, 257.5) == 256


def test_flags() -> None:
    assert flags(build_parser()) == [
        "--debug", "--growth-steps", "--help", "--init-scale", "--json", "--params", "--peak-flops", "--tokens-per-sample",
    ]  # fmt: skip
