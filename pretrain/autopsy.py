"""Read a training log and say what really ran: ``python -m pretrain.autopsy LOG``.

The learning-rate schedule (`pretrain.schedule_fit`), updates that the loss scaler skipped (`pretrain.scaler_history`),
throughput, losses, and steps that are missing from the log or there twice. Works on logs of PaddleNLP's pretraining scripts, on
ours, and on metrics.jsonl; what a log cannot tell is said to be unknown.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from shards import cli
from shards.errors import UsageError

if TYPE_CHECKING:
    from pretrain.log_reader import Log
    from pretrain.schedule_fit import Fit

COMMAND = "pretrain.autopsy"
_SHOWN = 20


def steps_report(log: Log) -> dict[str, Any]:
    """Return first and last step, the usual interval, gaps (steps without a line) and places where steps begin again."""
    steps = log.steps
    ahead = [b.step - a.step for a, b in pairwise(steps) if b.step > a.step]
    interval = round(median(ahead)) if ahead else None
    gaps = [
        {"after_step": a.step, "before_step": b.step, "line": b.line}
        for a, b in pairwise(steps)
        if interval is not None and b.step - a.step > 1.5 * interval
    ]
    repeats = [{"after_step": a.step, "again_from": b.step, "line": b.line} for a, b in pairwise(steps) if b.step <= a.step]
    return {
        "lines": len(steps), "bad_lines": len(log.bad_lines), "bad_line_numbers": list(log.bad_lines[:_SHOWN]),
        "evaluations": log.evaluations, "first_step": min(s.step for s in steps), "last_step": max(s.step for s in steps),
        "interval": interval, "gaps": gaps[:_SHOWN], "gap_count": len(gaps),
        "repeats": repeats[:_SHOWN], "repeat_count": len(repeats),
    }  # fmt: skip


def schedule_report(log: Log) -> tuple[dict[str, Any], list[Fit]]:
    """Return what the printed rates say of the schedule, and the candidates, the likeliest first; empty without rates."""
    known = [(s.step, s.lr, s.lr_error) for s in log.steps if s.lr is not None]
    if not known:
        return {}, []
    from pretrain.schedule_fit import fit_schedules, rates_of

    rates = rates_of(*(list(column) for column in zip(*known, strict=True)))
    fits = fit_schedules(rates)
    distinct = len(set(rates.rate.tolist()))
    report = {
        "lines_with_rate": len(known), "distinct_rates": distinct, "first_rate": float(rates.rate[0]),
        "last_rate": float(rates.rate[-1]), "lowest_rate": float(rates.rate.min()), "highest_rate": float(rates.rate.max()),
        "precision": float((rates.error / rates.rate.clip(1e-300)).max()) if rates.rate.min() > 0 else None,
        "best": fits[0].to_json(), "candidates": [fit.to_json() for fit in fits],
        "kinds_that_fit": sorted({fit.kind for fit in fits if fit.fits}),
    }  # fmt: skip
    return report, fits


def scaler_report(log: Log, *, init_scale: float, growth_steps: int) -> dict[str, Any]:
    """Return what loss scale and counters say of skipped updates; empty when the log has none."""
    from pretrain.scaler import BAD_STEPS_TO_BACK_OFF
    from pretrain.scaler_history import describe_scale, skips

    scales = [s.loss_scaling for s in log.steps if s.loss_scaling is not None]
    if not scales:
        return {}
    found = skips(log.steps, growth_steps)
    is_off = all(scale == 1.0 for scale in scales)
    first = {} if is_off else describe_scale(scales[0], init_scale)
    return {
        "is_off": is_off, "init_scale": init_scale, "growth_steps": growth_steps,
        "first_scale": scales[0], "last_scale": scales[-1], "distinct_scales": len(set(scales)),
        "first_scale_as": first, "last_scale_as": {} if is_off else describe_scale(scales[-1], init_scale),
        "skipped_before_at_least": BAD_STEPS_TO_BACK_OFF * first.get("back_offs", 0),
        "skipped_at_least": sum(skip.at_least for skip in found),
        "skips": [
            {"after_step": s.after_step, "before_step": s.before_step, "at_least": s.at_least, "last": s.last,
             "growths": s.growths, "back_offs": s.back_offs} for s in found[:_SHOWN]
        ],
    }  # fmt: skip


def throughput_report(
    log: Log, *, tokens_per_sample: float | None, params: float | None, peak_flops: float | None
) -> dict[str, Any]:
    """Return rates as printed (medians), rates by the time stamps, the batch that follows, tokens/s and MFU.

    MFU counts 6 operations a weight and token, forward and backward, without attention's own (Kaplan et al. 2020, §2.1).
    """
    from pretrain.round_numbers import evenest_integer

    report: dict[str, Any] = {}
    for name in ("samples_per_s", "steps_per_s", "tokens_per_s", "mfu"):
        values = [v for s in log.steps if (v := getattr(s, name)) is not None]
        if values:
            report[name] = {"median": median(values), "lowest": min(values), "highest": max(values)}
    bounds = [
        ((s.samples_per_s - s.samples_per_s_error) / (s.steps_per_s + s.steps_per_s_error),
         (s.samples_per_s + s.samples_per_s_error) / max(s.steps_per_s - s.steps_per_s_error, 1e-12))
        for s in log.steps if s.samples_per_s and s.steps_per_s
    ]  # fmt: skip
    if bounds:
        low, high = max(b[0] for b in bounds), min(b[1] for b in bounds)
        low, high = low - 1e-6 * low, high + 1e-6 * high
        report["global_batch"] = evenest_integer(low, high)
        report["global_batch_range"] = [low, high] if low <= high else None
    seconds = [
        ((b.time - a.time).total_seconds(), b.step - a.step)
        for a, b in pairwise(log.steps)
        if a.time is not None and b.time is not None and b.step > a.step and b.time > a.time
    ]
    if seconds:
        typical = median(s / n for s, n in seconds)
        # Pauses (a night between two runs in one log) are no part of the speed.
        running = [(s, n) for s, n in seconds if s / n < 5 * typical]
        report["steps_per_s_by_clock"] = sum(n for _, n in running) / sum(s for s, _ in running)
    if "samples_per_s" in report and tokens_per_sample is not None:
        report["tokens_per_s_computed"] = report["samples_per_s"]["median"] * tokens_per_sample
    tokens = report.get("tokens_per_s_computed", report.get("tokens_per_s", {}).get("median"))
    if tokens is not None and params is not None:
        report["flops_per_s"] = 6 * params * tokens
        if peak_flops is not None:
            report["mfu_computed"] = report["flops_per_s"] / peak_flops
    return report


def loss_report(log: Log) -> dict[str, Any]:
    """Return, for each loss that is there: first, last, lowest, mean, mean of the last tenth; and how many are not finite."""
    report: dict[str, Any] = {}
    for name in ("loss", "lm_loss", "sop_loss"):
        every = [(s.step, v) for s in log.steps if (v := getattr(s, name)) is not None]
        finite = [(step, v) for step, v in every if math.isfinite(v)]
        if not every:
            continue
        report[name] = {"not_finite": len(every) - len(finite)}
        if finite:
            values = [v for _, v in finite]
            lowest = min(finite, key=lambda pair: pair[1])
            report[name] |= {
                "first": values[0], "last": values[-1], "lowest": lowest[1], "lowest_at": lowest[0], "mean": fmean(values),
                "mean_of_last_tenth": fmean(values[-max(1, len(values) // 10) :]),
            }  # fmt: skip
    return report


def describe(fit: Fit) -> str:
    """Return a schedule in words."""
    warmup = f"{fit.warmup_steps:,} steps of warm-up"
    if fit.horizon is None:
        return f"constant at {fit.peak:.6g} after {warmup}"
    share = f" ({100 * fit.warmup_steps / fit.horizon:.3g} %)"
    shape = f"wsd, the last {100 * (fit.decay_share or 0):g} % decaying" if fit.kind == "wsd" else f"{fit.kind} decay"
    to = "zero" if fit.floor == 0 else f"{fit.floor:.6g}"
    late = "; lines show the rate of the step before" if fit.shift else ""
    return f"{shape} to {to} over {fit.horizon:,} steps from {fit.peak:.6g} with {warmup}{share}{late}"


def _say_schedule(report: dict[str, Any], fits: Sequence[Fit], last_step: int) -> None:
    if not fits:
        print("schedule: the log prints no learning rate")
        return
    best = fits[0]
    if best.fits:
        print(f"schedule: {describe(best)}")
        every = f"every printed digit of {report['lines_with_rate']} rates is reproduced"
        if best.horizon_range is not None and best.horizon is not None:
            low, high = best.horizon_range
            first, last = math.ceil(low - 1e-6), math.floor(high + 1e-6)
            every += f"; so it is with horizons from {first:,} to {last:,}" if first < last else ", with no other horizon"
        print(f"  {every}")
        if best.horizon is not None and last_step < best.horizon:
            share = f"{100 * last_step / best.horizon:.1f} % of the horizon"
            print(f"  the log ends at step {last_step:,}, {share}, at {report['last_rate']:g}")
    else:
        print(f"schedule: none of the known shapes reproduces the printed rates; the nearest is {describe(best)}")
    if report["precision"] is not None:
        print(f"  printed rates are exact to {report['precision']:.1e} of their value; {report['distinct_rates']} different ones")
    print("  candidates (largest deviation in units of rounding, 1 or less = reproduced; digits that describe it):")
    for fit in fits[:8]:
        print(f"    {fit.worst_error:9.3g}  {fit.digits:2d}  {describe(fit)}")
    if len(report["kinds_that_fit"]) > 1:
        print(f"  by the digits alone these shapes cannot be told apart here: {', '.join(report['kinds_that_fit'])}")


def _say_scaler(report: dict[str, Any]) -> None:
    if not report:
        print("loss scaler: the log prints no loss scale")
        return
    if report["is_off"]:
        print("loss scaler: off (the scale is 1 throughout)")
    else:
        made = report["last_scale_as"]
        how = f" = {made['formula']}" if made else f", which is no product of {report['init_scale']:g}, 2 and 0.8"
        if made and made["growths"] == made["back_offs"] == 0:
            how = ", the one it began with"
        exact = " (to the last bit of float32)" if made.get("exact") else ""
        print(f"loss scale: {report['last_scale']:.12g}{how}{exact}")
        if report["skipped_before_at_least"]:
            n = report["first_scale_as"]["back_offs"]
            skipped = report["skipped_before_at_least"]
            print(f"  before the first line: {n} back-offs of 2 bad steps each, so at least {skipped} skipped")
    print(f"skipped updates between the lines: at least {report['skipped_at_least']}")
    for skip in report["skips"]:
        where = f"the last at step {skip['last']:,}" if skip["last"] is not None else "at an unknown step"
        print(f"  at least {skip['at_least']} between steps {skip['after_step']:,} and {skip['before_step']:,}, {where}")


def _say_rest(steps: dict[str, Any], throughput: dict[str, Any], losses: dict[str, Any]) -> None:
    for name, unit in (("samples_per_s", "samples/s"), ("steps_per_s", "steps/s"), ("tokens_per_s", "tokens/s")):
        if name in throughput:
            values = throughput[name]
            print(f"{unit}: median {values['median']:,.2f} ({values['lowest']:,.2f} to {values['highest']:,.2f}), as printed")
    if "steps_per_s_by_clock" in throughput:
        print(f"steps/s by the time stamps: {throughput['steps_per_s_by_clock']:.4f}")
    if throughput.get("global_batch") is not None and throughput["global_batch_range"] is not None:
        low, high = throughput["global_batch_range"]
        print(f"global batch: {throughput['global_batch']} (the lines allow {low:.1f} to {high:.1f})")
    if "tokens_per_s_computed" in throughput:
        print(f"tokens/s: {throughput['tokens_per_s_computed']:,.0f}")
    if "mfu" in throughput:
        low, high = (100 * throughput["mfu"][bound] for bound in ("lowest", "highest"))
        print(f"MFU: median {100 * throughput['mfu']['median']:.1f} % ({low:.1f} to {high:.1f}), as printed")
    if "mfu_computed" in throughput:
        print(f"MFU: {100 * throughput['mfu_computed']:.1f} % ({throughput['flops_per_s']:.3g} FLOP/s at 6 a weight and token)")
    for name, values in losses.items():
        if "mean" in values:
            print(
                f"{name}: first {values['first']:.4f}, last {values['last']:.4f}, lowest {values['lowest']:.4f} at step "
                f"{values['lowest_at']:,}, mean {values['mean']:.4f}, of the last tenth {values['mean_of_last_tenth']:.4f}"
            )
        if values["not_finite"]:
            print(f"{name}: not finite on {values['not_finite']} lines")
    for gap in steps["gaps"]:
        print(f"gap: no line between steps {gap['after_step']:,} and {gap['before_step']:,} (line {gap['line']})")
    for repeat in steps["repeats"]:
        print(
            f"steps begin again: after {repeat['after_step']:,} comes {repeat['again_from']:,} (line {repeat['line']}): a resume?"
        )


def examine(options: argparse.Namespace) -> cli.Outcome:
    from pretrain.log_line import METRICS
    from pretrain.log_reader import read_log

    for name in ("tokens_per_sample", "params", "peak_flops", "init_scale", "growth_steps"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} must be positive, got {value}")
    if options.peak_flops is not None and options.params is None:
        raise UsageError("--peak-flops needs --params: MFU is weights times tokens/s over the peak")
    path = Path(options.log)
    log = read_log(path / METRICS if path.is_dir() else path)
    steps = steps_report(log)
    schedule, fits = schedule_report(log)
    scaler = scaler_report(log, init_scale=options.init_scale, growth_steps=options.growth_steps)
    throughput = throughput_report(
        log, tokens_per_sample=options.tokens_per_sample, params=options.params, peak_flops=options.peak_flops
    )
    losses = loss_report(log)
    interval = f", one line each {steps['interval']:,}" if steps["interval"] else ""
    print(f"{options.log}: {steps['lines']:,} lines, steps {steps['first_step']:,} to {steps['last_step']:,}{interval}")
    if steps["bad_lines"]:
        print(f"bad lines, left out: {steps['bad_lines']} ({', '.join(map(str, steps['bad_line_numbers']))})")
    _say_schedule(schedule, fits, steps["last_step"])
    _say_scaler(scaler)
    _say_rest(steps, throughput, losses)
    figures = {"steps": steps, "schedule": schedule, "scaler": scaler, "throughput": throughput, "losses": losses}
    return cli.Outcome(figures=figures)


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "Say what a training log proves: schedule, skipped updates, throughput, losses.")
    parser.add_argument("log", metavar="LOG", help="a log in the format of PaddleNLP or ours, a metrics.jsonl, or a run's folder")
    parser.add_argument("--tokens-per-sample", type=float, default=None, help="tokens of a sample, for tokens/s")
    parser.add_argument("--params", type=float, default=None, help="weights that compute for each token, for MFU")
    parser.add_argument("--peak-flops", type=float, default=None, help="peak FLOP/s of all devices together, for MFU")
    parser.add_argument("--init-scale", type=float, default=32768.0, help="loss scale at the first step")
    parser.add_argument("--growth-steps", type=int, default=1000, help="good steps in a row that double the loss scale")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(COMMAND, build_parser(), examine, argv)


if __name__ == "__main__":
    raise SystemExit(main())
