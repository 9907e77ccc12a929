"""Train an encoder on data sets: ``python -m pretrain.run --shards shards/``.

1. Options, data and the run's folder are checked (`pretrain.plan`) before paddle is loaded, so mistakes show at once.
2. With ``--nproc N`` the same command is started N times and this process only watches (`pretrain.distributed`).
3. Otherwise the run is locked, its record is written (`pretrain.run_state`), and the trainer runs (`pretrain.trainer`).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    # Started as a file, by paddle's launcher: its folder is on the path where the project's root should be.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pretrain.flags import add_flags, config_from
from pretrain.options import TrainConfig
from shards import cli
from shards.errors import LockedError, UsageError

if TYPE_CHECKING:
    from pretrain.distributed import World
    from pretrain.plan import Start, TrainingPlan
    from pretrain.trainer import Trainer

    Poll = Callable[[], int | None]
    Observe = Callable[[Trainer, Poll], Poll]

COMMAND = "pretrain.run"
LOCK = ".lock"
_LOCK_PATIENCE_S = 3.0


def train(config: TrainConfig, arguments: Sequence[str], *, observe: Observe | None = None, module: str = COMMAND) -> cli.Outcome:
    """Train as `config` says; `arguments` are the command's, for the record and for resuming.

    `observe` is shown the trainer before it starts, and the function that asks whether to stop, which it may replace; `module` is
    what the processes of ``--nproc`` run.
    """
    from pretrain.distributed import SPAWNED, world_of_environment

    world = world_of_environment()
    if config.nproc > 1 and world.size == 1:
        return _launch(config, arguments, module)
    if config.nproc not in (1, world.size):
        raise UsageError(f"--nproc {config.nproc} in a process that a launcher started as one of {world.size}")
    spawned = SPAWNED in os.environ
    say: Callable[[str], None] = print if world.is_first else _silent
    if world.is_first and not spawned and not config.verify:
        say("shards are not verified (--no-verify)")
    plan = _make_plan(config, verify=config.verify and world.is_first and not spawned, say=_silent if spawned else say)
    if not world.is_first:
        return _train_here(plan, None, world, arguments, say, observe)
    from pretrain.plan import choose_start

    with _locked(plan.folder):
        start = choose_start(plan, _silent if spawned else say)
        return _train_here(plan, start, world, arguments, say, observe)


def _silent(text: str) -> None:
    """Say nothing: another process of the run says it."""


def _make_plan(config: TrainConfig, *, verify: bool, say: Callable[[str], None]) -> TrainingPlan:
    from pretrain.plan import make_plan

    plan = make_plan(config, verify=verify, say=say)
    for data_set in plan.data_sets:
        manifest = data_set.manifest
        say(f"data: {data_set.name}, {len(data_set.split('train')):,} training samples, fingerprint {manifest.fingerprint[:8]}")
    return plan


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock. Loader processes of a killed run let go of it within a second, which is waited for."""
    from contextlib import ExitStack

    from shards.durable import sweep
    from shards.lock import exclusive

    deadline = time.monotonic() + _LOCK_PATIENCE_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(folder / LOCK))
                break
            except LockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        for place in (folder, folder / "checkpoints"):
            if place.is_dir():
                sweep(place)
        yield


def _launch(config: TrainConfig, arguments: Sequence[str], module: str) -> cli.Outcome:
    """Check what can be checked, then let `config.nproc` processes train."""
    from pretrain.distributed import launch
    from pretrain.plan import choose_start
    from pretrain.run_state import read_run

    config.micro_batch_on(config.nproc)
    if not config.verify:
        print("shards are not verified (--no-verify)")
    plan = _make_plan(config, verify=config.verify, say=print)
    with _locked(plan.folder):
        choose_start(plan)
    code = launch([a for a in arguments if a != "--json"], processes=config.nproc, module=module)
    record = read_run(plan.folder) or {}
    return cli.Outcome(
        fingerprint=record.get("checkpoint_fingerprint"),
        outputs=(str(plan.folder),),
        figures=record.get("figures", {}),
        exit_code=code,
    )


def _train_here(
    plan: TrainingPlan,
    start: Start | None,
    world: World,
    arguments: Sequence[str],
    say: Callable[[str], None],
    observe: Observe | None,
) -> cli.Outcome:
    """Train in this process. The first rank brings `start`; the others are told its step."""
    import numpy as np

    from pretrain import environment
    from pretrain.distributed import start_fleet
    from pretrain.plan import follow_start
    from pretrain.precision import Precision
    from pretrain.run_state import begin_run, end_run, fail_run, resuming_command
    from pretrain.signals import StopSignals

    micro_batch = plan.config.micro_batch_on(world.size)
    started = environment.start(plan.config.device, local_ranks=world.local_size, local_rank=world.local_rank, say=say)
    say(Precision(plan.config, on_gpu=started.device != "cpu").describe())
    start_fleet(world, started.device)
    step = int(world.sum(np.array([start.state.step if start is not None else 0], np.int64))[0])
    start = start or follow_start(plan, step)

    record: dict[str, Any] = {}
    if world.is_first:
        fields = _record_fields(plan, arguments, world, device=started.device, micro_batch=micro_batch, step=step)
        record = begin_run(plan.folder, fields)
        say(f"run: {plan.folder}, " + (f"resumed after step {step}" if step else "from the beginning"))
    try:
        from pretrain.data_plan import describe, save_packings
        from pretrain.step_records import cut_all
        from pretrain.trainer import Trainer

        if world.is_first:
            cut_all(plan.folder, step)
            save_packings(plan.drawing, plan.folder)
        trainer = Trainer(plan, start, world, tokenizer_files=_tokenizer_files(plan), on_gpu=started.device != "cpu")
        schedule = trainer.schedule
        timed = plan.config.max_hours is not None and trainer.state.horizon is None
        many = f"as many steps as fit into {plan.config.max_hours:g} hours" if timed else f"{schedule.max_steps:,} steps"
        of = f"of {plan.config.global_batch} samples" if plan.config.stages is None else f"in stages {plan.config.stages}"
        say(
            f"network: {trainer.weight_count:,} weights; {many} {of} "
            f"({trainer.batches.per_step} x {micro_batch} on each of {world.size}), {schedule.kind} schedule, "
            f"{schedule.warmup_steps} steps of warm-up"
        )
        for line in (*trainer.reports.described, *describe(trainer.batches.sampler_of(1))):
            say(line)
        with StopSignals() as signals:
            result = trainer.run(observe(trainer, signals.poll) if observe is not None else signals.poll)
    except Exception as error:
        told = _told(error)
        if world.is_first:
            fail_run(plan.folder, record, told)
        if told is error:
            raise
        raise told from error
    except KeyboardInterrupt:
        raise cli.Interrupted(signal.SIGINT, f"at once, without saving; go on with: {resuming_command(arguments)}") from None
    if result.stopped_by is not None and result.step < trainer.schedule.max_steps:
        if not world.is_first:
            return cli.Outcome(exit_code=128 + result.stopped_by)
        hint = f"saved {result.checkpoint.path}; go on with: {resuming_command(arguments)}"
        raise cli.Interrupted(result.stopped_by, hint)
    if world.is_first:
        ended = {"schedule": asdict(trainer.schedule), "checkpoint_fingerprint": result.checkpoint.fingerprint}
        end_run(plan.folder, {**record, **ended}, result.figures)
        say(f"finished: {result.checkpoint.path}, fingerprint {result.checkpoint.fingerprint[:8]}")
    outputs = (str(plan.folder), str(result.checkpoint.path))
    return cli.Outcome(fingerprint=result.checkpoint.fingerprint, outputs=outputs, figures=result.figures)


def _told(error: Exception) -> Exception:
    """Return the error to report: that of a dead loader process comes out of paddle's signal handler as a SystemError."""
    if not isinstance(error, SystemError) or "DataLoader" not in str(error):
        return error
    from pretrain.errors import LaunchError

    return LaunchError(
        "a loader process was killed",
        hint="Lack of memory is the usual reason. The same command goes on; with --workers 0 it does without them",
    )


def _record_fields(
    plan: TrainingPlan, arguments: Sequence[str], world: World, *, device: str, micro_batch: int, step: int
) -> Mapping[str, Any]:
    from pretrain.data_plan import skips_record
    from pretrain.run_state import command_line, read_run

    init = plan.init
    before = (read_run(plan.folder) or {}).get("skipped", [])
    return {
        "command": command_line(arguments),
        "model": plan.model_name,
        "config": asdict(plan.config),
        "network": plan.network.to_json(),
        "schedule": asdict(plan.schedule),
        "data": [
            {"name": s.name, "path": str(s.path), "fingerprint": s.manifest.fingerprint, "rows": len(s.split("train"))}
            for s in plan.data_sets
        ],
        "sections": [len(section.train.data_sets) for section in plan.sections],
        "packing": [packing.hash for packing in plan.drawing.packings],
        "skipped": skips_record(plan.drawing, plan.train, step, before),
        "tokenizer_hash": plan.fresh.tokenizer_hash,
        "init": None if init is None else {"path": str(init.path), "name": init.name, "fingerprint": init.fingerprint},
        "ranks": world.size,
        "micro_batch": micro_batch,
        "device": device,
    }


def _tokenizer_files(plan: TrainingPlan) -> dict[str, bytes]:
    first = plan.data_sets[0]
    return {file.name: (first.tokenizer_folder / file.name).read_bytes() for file in first.manifest.tokenizer.files}


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "Train an encoder on data sets, from scratch or from existing weights.")
    add_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return cli.run(COMMAND, build_parser(), lambda options: train(config_from(options), arguments), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
