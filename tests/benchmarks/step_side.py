"""One process of the benchmark `step`: ``python -m tests.benchmarks.step_side MODEL BATCH LENGTH BLOCKS STEPS WORK``.

Blocks of steps of `pretrain.run`'s trainer take turns with the same number of bare steps on the same batches: forward, backward,
norm, clipping and update, by the same network and optimizer. Prints JSON: seconds of a step for each block of either, by the
clock and of processor time of this process, and the share of the trainer's time in which it waited for data.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pretrain import environment
from pretrain.distributed import World, start_fleet
from pretrain.log_line import read_metrics
from pretrain.options import TrainConfig
from pretrain.plan import choose_start, make_plan
from tests.helpers.tiny_data import write_tiny_data

VOCAB_SIZE = 12_000
_SIGTERM = 15


def main(model: str, batch: int, length: int, blocks: int, steps: int, work: Path) -> dict[str, Any]:
    shards = write_tiny_data(work / "set", rows=blocks * steps * batch, max_seq_len=length, vocab_size=VOCAB_SIZE)
    config = TrainConfig(
        shards=str(shards), model=model, out=str(work), name="run", global_batch=batch, micro_batch=batch, device="cpu",
        max_steps=10 * (blocks + 1) * steps, logging_steps=steps, eval_steps=10**6, save_steps=10**6,
    )  # fmt: skip
    plan = make_plan(config, verify=True, say=lambda text: None)
    environment.start("cpu")
    start_fleet(World(), "cpu")
    from pretrain.trainer import Trainer

    plan.folder.mkdir(parents=True)
    trainer = Trainer(plan, choose_start(plan), World(), tokenizer_files={"vocab.txt": b"one\n"})
    taken: list[tuple[Any, Any]] = []
    backward = trainer.backward

    def kept(step: int, batches: Any, counts: Any) -> Any:
        taken.append((batches, counts))
        return backward(step, batches, counts)

    def bare() -> None:
        for batches, counts in taken:
            trainer.objective.shares(trainer.network, batches[0], counts).loss.backward()
            trainer.optimizer.update(math.sqrt(float(trainer.optimizer.squared_norm())), 1e-4)

    # (by the clock, of processor time) for each block
    whole: list[tuple[float, float]] = []
    alone: list[tuple[float, float]] = []
    since = time.perf_counter(), time.process_time()

    def lap() -> tuple[float, float]:
        nonlocal since
        before, since = since, (time.perf_counter(), time.process_time())
        return (since[0] - before[0]) / steps, (since[1] - before[1]) / steps

    def stop() -> int | None:
        if len(taken) < steps:
            return None
        whole.append(lap())
        bare()
        alone.append(lap())
        taken.clear()
        return _SIGTERM if len(whole) > blocks else None

    trainer.backward = kept  # type: ignore[method-assign]
    trainer.run(stop)
    # The first block warms up: kernels are chosen, memory is fetched, loader processes start.
    windows = [record for record in read_metrics(plan.folder) if "data_wait_share" in record][1 : len(whole)]
    wait_s = sum(window["data_wait_share"] * steps / window["steps_per_s"] for window in windows)
    (whole_s, whole_cpu_s), (bare_s, bare_cpu_s) = (zip(*laps[1:], strict=True) for laps in (whole, alone))
    return {
        "whole_s": whole_s, "bare_s": bare_s, "whole_cpu_s": whole_cpu_s, "bare_cpu_s": bare_cpu_s,
        "wait_share": wait_s / (steps * sum(whole_s)),
    }  # fmt: skip


if __name__ == "__main__":
    name, *numbers = sys.argv[1:-1]
    batch, length, blocks, steps = map(int, numbers)
    with tempfile.TemporaryDirectory(dir=sys.argv[-1]) as folder:
        print(json.dumps(main(name, batch, length, blocks, steps, Path(folder))))
