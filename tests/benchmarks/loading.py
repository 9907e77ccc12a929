"""How fast training is fed: samples at the consumer of ``paddle.io.DataLoader``, and seeking in a set that is too large to be real.

Paddle is started in processes of their own, as a training is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

from shards.columns import Columns
from shards.counter import below, fold, fold_each
from shards.mixture import Mixture
from shards.order import SampleOrder
from shards.reader import starts
from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import ROOT, Figure, environment, median, spread
from tests.helpers.columns import VOCAB_SIZE, made_data_set

_TOKENS = 509  # and three special ones: 512
_LOADER_BAR = 15_000
_SEEK_BAR_MS = 10.0
_SIDES = {
    "consumer": "at the consumer of `paddle.io.DataLoader`, one worker",
    "cpu": "the same, by the CPU time of worker and consumer together",
    "process": "in one process, by its CPU time",
}
_ROWS, _STEP, _BATCH = 10**9, 10**6, 512


def long_columns(rows: int, seed: int) -> Columns:
    """Return pairs of 509 tokens, one in ten shorter, in words of 1.6 tokens, as Chinese text has them."""
    number = np.arange(rows, dtype=np.uint64)
    short = below(fold_each(fold(seed, 1), number), 10) < 1
    lengths = np.where(short, 20 + below(fold_each(fold(seed, 2), number), _TOKENS - 20), _TOKENS)
    offsets = starts(lengths)
    token = np.arange(int(offsets[-1]), dtype=np.uint64)
    word_start = below(fold_each(fold(seed, 4), token), 100) < 62
    word_start[offsets[:-1]] = True
    return Columns(
        ids=(104 + below(fold_each(fold(seed, 3), token), VOCAB_SIZE - 104)).astype(np.uint16), word_start=word_start, offsets=offsets,
        split=(lengths // 2).astype(np.uint16), source_file=np.zeros(rows, np.uint32), source_row=number + 1,
    )  # fmt: skip


def loader(setting: Setting) -> list[Figure]:
    rows = 2_000 if setting.quick else 20_000
    folder = setting.work / "long"
    made_data_set(folder, [long_columns(rows, seed) for seed in (1, 2)])
    figures = []
    for micro_batch in (32, 128, 256):
        found = [_side(folder, micro_batch) for _ in range(setting.repeats)]
        for key, name in _SIDES.items():
            rates = [side[key] for side in found]
            bar = _LOADER_BAR if key != "process" and micro_batch >= 128 else None
            figures.append(
                Figure(
                    name=f"512 tokens, WWM + SOP, batches of {micro_batch}, {name}",
                    bar=f"≥ {bar:,} samples/s" if bar else "",
                    value=f"{spread([rate / 1e3 for rate in rates])} thousand samples/s",
                    reached=median(rates) >= bar if bar else None,
                )
            )
    return figures


def _side(folder: Path, micro_batch: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.loading", str(folder), str(micro_batch)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    sides: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return sides


def _measure(folder: Path, micro_batch: int) -> dict[str, float]:
    """Return samples a second after an epoch that warms the page cache: see `_SIDES`.

    CPU time is what the work costs, whatever else the machine does: as fast as if worker and consumer shared one core.
    """
    from pretrain import environment as training

    training.start("cpu")
    from pretrain.loader import Loader, MicroBatches
    from shards.collate import BatchPlan
    from shards.masks import MaskPolicy
    from shards.reader import DataSet

    split = DataSet.open(folder, verify=False).split("train")
    tokenizer = split.data_sets[0].manifest.tokenizer
    plan = BatchPlan(
        special_ids=tokenizer.special_ids,
        vocab_size=tokenizer.vocab_size,
        pair_template="bert",
        mask=MaskPolicy(),
        sop=True,
        seed=1,
    )
    batches = MicroBatches(split, plan, global_batch=micro_batch, micro_batch=micro_batch)
    count = len(split) // micro_batch
    for number in range(count):
        batches.make(number)
    begun_cpu = time.process_time()
    for number in range(count):
        batches.make(number)
    process_s = time.process_time() - begun_cpu
    begun_cpu = _cpu_s()
    reader = Loader(batches, first=0, end=2 * count, workers=1)
    for _ in range(count):
        reader.next()
    begun = time.perf_counter()
    for _ in range(count):
        reader.next()
    consumer_s = time.perf_counter() - begun
    reader.close()
    cpu_s = _cpu_s() - begun_cpu
    samples = count * micro_batch
    return {"consumer": samples / consumer_s, "cpu": 2 * samples / cpu_s, "process": samples / process_s}


def _cpu_s() -> float:
    """Return the CPU time of this process and of those children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def seek(setting: Setting) -> list[Figure]:
    positions = np.arange(_STEP * _BATCH, (_STEP + 1) * _BATCH, dtype=np.int64)

    def plain() -> None:
        SampleOrder(_ROWS, seed=1).at(positions)

    def mixed() -> None:
        which, own = Mixture({"a": 3.0, "b": 1.0}, seed=1).at(positions)
        for number, rows in enumerate((_ROWS * 3 // 4, _ROWS // 4)):
            SampleOrder(rows, seed=number).at(own[which == number])

    def blocks() -> None:
        SampleOrder(_ROWS, seed=1, block=1024).at(positions)

    figures = []
    for name, work in (("in random order", plain), ("from a mixture of two sets", mixed), ("read in blocks of 1,024", blocks)):
        times = []
        for _ in range(max(5, setting.repeats)):
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3)
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        figures.append(
            Figure(
                name=f"step 10⁶ of 10⁹ samples, batches of {_BATCH}, {name}",
                bar=f"≤ {_SEEK_BAR_MS:.0f} ms",
                value=f"{spread(times)} ms, {peak / 1e6:.1f} MB at most",
                reached=median(times) <= _SEEK_BAR_MS,
            )
        )
    return figures


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), int(sys.argv[2]))))
