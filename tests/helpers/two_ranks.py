"""What `tests/determinism/test_two_ranks.py` has processes do together: ``python -m tests.helpers.two_ranks SHARDS OUT [STEP]``.

With a STEP, they only go on with the elastic run, and end it there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pretrain import environment
from pretrain.batch_digests import batch_digests
from pretrain.distributed import World, start_fleet, world_of_environment
from pretrain.plan import TrainingPlan
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_network, tiny_plan

STEPS = 7
SIGTERM = 15


def with_digests(trainer: Any, seen: dict[int, list[str]]) -> Any:
    """Have a trainer note in `seen` what this rank's samples of each step looked like."""
    backward = trainer.backward

    def noted(step: int, batches: Any, *rest: Any) -> Any:
        seen[step] = [digest for batch in batches for digest in batch_digests(batch)]
        return backward(step, batches, *rest)

    trainer.backward = noted
    return trainer


def stop_at(trainer: Any, step: int) -> Callable[[], int | None]:
    """Return the `stop` that ends training at `step`; a group asks before the step is done, a single process after it."""
    ahead = int(trainer.world.size > 1)
    return lambda: SIGTERM if trainer.state.step + ahead >= step else None


def elastic_plan(shards: Path, out: Path) -> TrainingPlan:
    return tiny_plan(tiny_config(shards, out, name="elastic", max_steps=STEPS, save_steps=100, micro_batch=1, eval_steps=100))


def _elastic(shards: Path, out: Path, world: World, step: int) -> None:
    """Go on with the elastic run to the end of `step`, and write what this rank's samples looked like."""
    seen: dict[int, list[str]] = {}
    trainer = with_digests(new_trainer(elastic_plan(shards, out), world=world), seen)
    trainer.run(stop_at(trainer, step))
    (out / f"elastic-{world.size}-{world.rank}.json").write_text(json.dumps(seen))


def together(out: Path, ranks: int) -> dict[int, list[str]]:
    """Return what the samples of each step looked like to all ranks of `_elastic`, in order."""
    parts = [json.loads((out / f"elastic-{ranks}-{rank}.json").read_text()) for rank in range(ranks)]
    return {int(step): [digest for part in parts for digest in part[step]] for step in parts[0]}


def _gradients(shards: Path, out: Path, world: World) -> None:
    """Write the gradients of a step of 32 samples over both ranks, and how often and how much they were summed."""
    import paddle

    config = tiny_config(shards, out, name="gradients", global_batch=32, micro_batch=4, max_steps=2, max_lr=1e-2)
    trainer = new_trainer(tiny_plan(config, tiny_network(dropout=0.0)), world=world)
    sums: list[int] = []
    all_reduce = paddle.distributed.all_reduce

    def counted(tensor: Any, *rest: Any) -> Any:
        sums.append(int(tensor.size))
        return all_reduce(tensor, *rest)

    def dump(norm: float, learning_rate: float, *rest: Any) -> None:
        if world.is_first:
            found = {name: g.numpy() for name, g in trainer.optimizer.gradients().items()}
            np.savez(out / "gradients.npz", **found)
            (out / "sums.json").write_text(json.dumps(sums))
        raise SystemExit

    paddle.distributed.all_reduce = counted
    trainer.optimizer.update = dump
    try:
        trainer.run()
    except SystemExit:
        pass
    finally:
        paddle.distributed.all_reduce = all_reduce


def main(shards: Path, out: Path, step: int | None = None) -> None:
    world = world_of_environment()
    environment.start("cpu", local_ranks=world.size, local_rank=world.local_rank)
    start_fleet(world, "cpu")
    if step is not None:
        _elastic(shards, out, world, step)
        return

    def plan(name: str, **changes: object) -> TrainingPlan:
        return tiny_plan(tiny_config(shards, out, name=name, max_steps=STEPS, save_steps=3, **changes))

    def all_saved() -> None:
        world.sum(np.zeros(1, np.int64))  # the first rank has returned from `run`, so its checkpoints are on disk

    new_trainer(plan("plain"), world=world).run()
    sharded = new_trainer(plan("sharded", sharding=1), world=world)
    sharded.run(stop_at(sharded, 4))
    all_saved()
    new_trainer(plan("sharded", sharding=1), world=world).run()

    _elastic(shards, out, world, 5)
    _gradients(shards, out, world)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
