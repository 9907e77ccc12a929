"""A run that `pretrain.verify_resume` watches: ``python -m pretrain.verify_child --record FILE --stop-at N [--kill-at K] FLAGS``.

It is `pretrain.run` with one thing added: each rank notes its samples and masks of every step in ``FILE-<rank>.jsonl``. It
ends in order, on a checkpoint, behind step N; or by SIGKILL behind step K, as soon as a checkpoint is there to go on from.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pretrain.flags import config_from
from pretrain.run import build_parser, train
from shards import cli

if TYPE_CHECKING:
    from pretrain.trainer import Trainer

COMMAND = "pretrain.verify_child"
_OWN = ("record", "stop_at", "kill_at")
_PATIENCE_S = 60.0

Stop = Callable[[], int | None]


def record_file(record: Path, rank: int) -> Path:
    return record.with_name(f"{record.name}-{rank}.jsonl")


def _observed(trainer: Trainer, stop: Stop, *, record: Path, stop_at: int, kill_at: int | None) -> Stop:
    """Have `trainer` note what it is given, and die when it is time; return the `stop` that ends it at `stop_at`."""
    import numpy as np

    from pretrain.batch_digests import batch_digests

    backward, file = trainer.backward, record_file(record, trainer.world.rank)

    def noted(step: int, batches: Sequence[dict[str, Any]], *rest: Any) -> Any:
        if kill_at is not None and step > kill_at:
            _die(trainer)
        samples = np.concatenate([np.asarray(batch["sample_ids"]) for batch in batches]).tolist()
        digests = [digest for batch in batches for digest in batch_digests(batch)]
        with open(file, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, "samples": samples, "masks": digests}) + "\n")
        return backward(step, batches, *rest)

    trainer.backward = cast(Any, noted)  # type: ignore[method-assign]
    # A group asks whether to stop before a step is done, a single process after it.
    ahead = 1 if trainer.world.size > 1 else 0
    return lambda: signal.SIGTERM if trainer.state.step + ahead >= stop_at else stop()


def _die(trainer: Trainer) -> None:
    from pretrain.checkpoint import list_checkpoints

    if not trainer.world.is_first:
        time.sleep(_PATIENCE_S)  # the first rank is about to die, and the launcher ends the others
    deadline = time.monotonic() + _PATIENCE_S
    while not list_checkpoints(trainer.plan.folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def _train(options: argparse.Namespace, arguments: Sequence[str]) -> cli.Outcome:
    given = argparse.Namespace(**{name: value for name, value in vars(options).items() if name not in _OWN})

    def observe(trainer: Trainer, stop: Stop) -> Stop:
        return _observed(trainer, stop, record=Path(options.record), stop_at=options.stop_at, kill_at=options.kill_at)

    return train(config_from(given), arguments, observe=observe, module=COMMAND)


def build_watched_parser() -> cli.Parser:
    parser = build_parser()
    watched = parser.add_argument_group("watched by pretrain.verify_resume")
    watched.add_argument("--record", metavar="FILE", required=True, help="where ranks note their samples and masks")
    watched.add_argument("--stop-at", type=int, required=True, help="step to end behind")
    watched.add_argument("--kill-at", type=int, help="step to be killed behind")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return cli.run(COMMAND, build_watched_parser(), lambda options: _train(options, arguments), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
