"""What `pretrain.run` adds to a step, how long it waits for data, and how soon it begins."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import ROOT, Figure, environment, median, spread
from tests.helpers.tiny_data import write_tiny_data

# Network, samples, tokens; blocks and steps of a block.
_CASES = (("roformer-small", 16, 128, 3, 3), ("roformer-tiny", 16, 128, 5, 6))


def steps(setting: Setting) -> list[Figure]:
    """Blocks of steps of training and bare ones, turn and turn about, in one process; and the start of a command."""
    cases = _CASES[1:] if setting.quick else _CASES
    figures = [figure for case in cases for figure in _step(setting, *case)]
    begun = [_first_step_s(setting, number) for number in range(setting.repeats)]
    name = "from the command to the first step of roformer-tiny, two samples"
    return [*figures, Figure(name=name, bar="≤ 10 s", value=f"{spread(begun)} s", reached=median(begun) <= 10)]


def _step(setting: Setting, model: str, batch: int, length: int, blocks: int, count: int) -> list[Figure]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.step_side", *map(str, (model, batch, length, blocks, count, setting.work))],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    by_clock, by_work = (
        [whole / bare for whole, bare in zip(found[f"whole_{kind}"], found[f"bare_{kind}"], strict=True)]
        for kind in ("s", "cpu_s")
    )
    of = f"{model}, {batch} × {length}"
    wait = 100 * found["wait_share"]
    return [
        Figure(name=f"bare step of {of}", bar="", value=f"{spread([1000 * s for s in found['bare_s']])} ms", reached=None),
        Figure(name="step of `pretrain.run` ÷ bare step", bar="≤ 1.03 ×", reached=median(by_clock) <= 1.03, value=_ratio(by_clock)),
        Figure(name="the same, in processor time of the training process", bar="", value=_ratio(by_work), reached=None),
        Figure(name="share of the time waiting for data", bar="≤ 1 %", value=f"{wait:.2f} %", reached=wait <= 1),
    ]  # fmt: skip


def _ratio(values: Sequence[float]) -> str:
    return f"{median(values):.3f} × ({min(values):.3f} to {max(values):.3f})"


def _first_step_s(setting: Setting, number: int) -> float:
    """Return the seconds from starting the command to its first log line."""
    shards = setting.work / "start" / "set"
    if not shards.exists():
        write_tiny_data(shards)
    command = [
        sys.executable, "-m", "pretrain.run", "--shards", str(shards), "--model", "roformer-tiny", "--max-steps", "1",
        "--global-batch", "2", "--logging-steps", "1", "--out", str(setting.work / "runs"), "--name", str(number),
    ]  # fmt: skip
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = next((time.perf_counter() - begun for line in process.stdout if "global step 1" in line), None)
    if first is None or process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return first
