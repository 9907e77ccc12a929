"""Prove that a run of yours can be killed: ``python -m pretrain.verify_resume FLAGS OF pretrain.run --steps N --kill-at K``.

1. Train N steps undisturbed.
2. Train again, and kill that by SIGKILL behind step K; go on with the same command, to step N.
3. Compare weights, moments, scaler and the rest of the state byte by byte, the samples and masks of every step, and the log.

All of it happens in a folder below --out that is removed afterwards. --save-steps and --logging-steps are lowered where the
run would not have saved, or logged, before it is killed. The exit code is 0 only if nothing differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.flags import add_flags, config_from
from pretrain.options import TrainConfig
from shards import cli
from shards.errors import UsageError

if TYPE_CHECKING:
    from pretrain.run_comparison import Compared

COMMAND = "pretrain.verify_resume"
_STOPPED_IN_ORDER = 128 + signal.SIGTERM
_OWN = ("steps", "kill_at")
_DIFFERENT = 1


def verify(options: argparse.Namespace, arguments: Sequence[str]) -> cli.Outcome:
    """Train, kill, resume, compare; see the module docstring."""
    from pretrain.run_comparison import compare_runs
    from shards.durable import remove_tree

    steps, kill_at = options.steps, options.kill_at if options.kill_at is not None else options.steps // 2
    given = argparse.Namespace(**{name: value for name, value in vars(options).items() if name not in _OWN})
    config, begin = _checked(config_from(given), steps, kill_at)
    work = Path(config.out) / f".verify-{uuid.uuid4().hex[:8]}"
    flags = [
        *_run_flags(arguments), "--out", str(work), "--save-steps", str(config.save_steps),
        "--logging-steps", str(config.logging_steps), "--resume", "auto", "--no-verify",
    ]  # fmt: skip
    try:
        work.mkdir(parents=True)
        print(f"1 of 3: {steps} steps undisturbed", flush=True)
        _train(work, "whole", flags, begin + steps, config)
        print(f"2 of 3: killed behind step {kill_at}, saving every {config.save_steps}", flush=True)
        _train(work, "killed", flags, begin + steps, config, kill_at=begin + kill_at)
        resumed_from = _newest_step(work / "killed")
        print(f"3 of 3: resumed from step {resumed_from}", flush=True)
        _train(work, "killed", flags, begin + steps, config, record="resumed")
        table = compare_runs(work)
    finally:
        remove_tree(work)
    return _outcome(table, {"steps": steps, "kill_at": kill_at, "resumed_from": resumed_from, "ranks": config.nproc})


def _checked(config: TrainConfig, steps: int, kill_at: int) -> tuple[TrainConfig, int]:
    """Return `config` as far as it decides what is trained, with --save-steps and --logging-steps low enough; and the step that
    training begins behind. Raises what `make_plan` raises, or UsageError.
    """
    from pretrain.plan import make_plan

    if config.max_hours is not None:
        raise UsageError("--max-hours leaves the schedule to the clock, so no two runs are the same", hint="Give --max-steps")
    if config.resume != "auto":
        raise UsageError(f"--resume {config.resume} makes no sense here", expected="a run from its beginning")
    if not 1 <= kill_at < steps:
        raise UsageError(
            "--kill-at must lie behind the first step and before the last", expected=f"1 to {steps - 1}", got=kill_at
        )
    plan = make_plan(config, verify=config.verify)
    begin = plan.cooldown.step if plan.cooldown is not None else 0
    if begin + steps > plan.schedule.max_steps:
        raise UsageError(f"--steps {steps} is more than the run has", expected=f"at most {plan.schedule.max_steps - begin}")
    config.micro_batch_on(config.nproc)
    soon = max(1, kill_at // 2)
    watched = replace(
        config,
        save_steps=config.save_steps if config.save_steps <= kill_at else soon,
        logging_steps=config.logging_steps if config.logging_steps <= kill_at else soon,
        probe=None,
        probe_steps=None,
    )
    return watched, begin


def _run_flags(arguments: Sequence[str]) -> list[str]:
    """Return the flags that are meant for `pretrain.run`, without probes: they only look on."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--steps", "--kill-at", "--probe", "--probe-steps"):
        own.add_argument(flag)
    for flag in ("--json", "--debug", "--no-verify"):
        own.add_argument(flag, action="store_true")
    return own.parse_known_args(arguments)[1]


def _train(
    work: Path, name: str, flags: Sequence[str], steps: int, config: TrainConfig, *, kill_at: int | None = None, record: str = ""
) -> None:
    """Train in processes of their own. Raises LaunchError, with the end of what they printed, unless they end as they should."""
    from pretrain.errors import LaunchError

    command = [sys.executable, "-m", "pretrain.verify_child", "--record", str(work / (record or name)), "--stop-at", str(steps)]
    command += [] if kill_at is None else ["--kill-at", str(kill_at)]
    with open(work / f"{record or name}.log", "w+b") as log:
        ended = subprocess.run([*command, *flags, "--name", name], stdout=log, stderr=subprocess.STDOUT, env=os.environ)
        killed = ended.returncode == (-signal.SIGKILL if config.nproc == 1 else LaunchError.exit_code)
        if killed if kill_at is not None else ended.returncode in (0, _STOPPED_IN_ORDER):
            return
        log.seek(0)
        last = log.read().decode(errors="replace").strip().splitlines()[-1:]
    raise LaunchError(f"training {record or name!r} ended with exit code {ended.returncode}: {' '.join(last)}")


def _newest_step(run: Path) -> int:
    from pretrain.checkpoint import newest_valid

    found, _ = newest_valid(run)
    return found.step if found is not None else 0


def _outcome(table: Sequence[Compared], figures: dict[str, int]) -> cli.Outcome:
    rows = [("what", "compared", "differ", "first difference"), *(row.cells() for row in table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    different = sum(row.different for row in table)
    print("the killed run ended with other bytes" if different else "killed and resumed, it ended with the same bytes")
    return cli.Outcome(
        figures={**figures, "same": not different, "table": [asdict(row) for row in table]},
        exit_code=_DIFFERENT if different else 0,
    )


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "Train, kill and resume with your own flags, and compare with a run that was left alone.")
    add_flags(parser)
    check = parser.add_argument_group("the proof")
    check.add_argument("--steps", type=int, default=10, help="steps to train")
    check.add_argument("--kill-at", type=int, help="step to kill behind (default: half of --steps)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return cli.run(COMMAND, build_parser(), lambda options: verify(options, arguments), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
