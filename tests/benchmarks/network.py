"""Training steps of the same network on the same batch: ours against PaddleNLP as shipped, and transformers on torch.

Every side is a process of its own (`tests.benchmarks.network_side`) with as many threads as there are cores; they take steps turn and
turn about, so that what else the machine does meets all of them alike. A ratio is taken within a turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import ROOT, Figure
from tests.benchmarks.network_side import Settings

_WARM_UP_STEPS, _TURNS_A_REPEAT, _STEPS_A_TURN = 2, 4, 2
_BAR = 3.0


class Side:
    """A process that takes steps when asked to."""

    def __init__(self, side: str, settings: Settings, python: str = sys.executable) -> None:
        variables = dict(os.environ) | {"OMP_NUM_THREADS": str(settings.threads), "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "tests.benchmarks.network_side", side, json.dumps(asdict(settings))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables, cwd=ROOT,
        )  # fmt: skip
        self._process_side = side

    def take(self, steps: int) -> float:
        """Take steps; return the seconds of one."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the side {self._process_side!r} of the network benchmark died")
        done: dict[str, Any] = json.loads(line)
        return float(done["wall_s"]) / steps

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def network(setting: Setting) -> list[Figure]:
    """Return tokens per second of each side, with their spread, and the ratios to ours."""
    settings = Settings(threads=os.cpu_count() or 1)
    ours, as_shipped, prepared = "ours", "PaddleNLP as shipped", "PaddleNLP in our process settings"
    sides = {
        ours: Side("ours", settings),
        as_shipped: Side("paddlenlp", settings),
        prepared: Side("paddlenlp", replace(settings, prepared=True)),
    }
    torch = "transformers on torch, fp32"
    if setting.torch_python is not None:
        sides[torch] = Side("transformers", settings, str(setting.torch_python))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.take(_WARM_UP_STEPS)
    for _ in range(setting.repeats * (1 if setting.quick else _TURNS_A_REPEAT)):
        for name, side in sides.items():
            seconds[name].append(side.take(_STEPS_A_TURN))
    for side in sides.values():
        side.close()
    tokens = settings.rows * settings.length
    figures = [
        Figure(name=f"{name}, tokens/s", bar="", value=_mean([tokens / s for s in times], 0), reached=None)
        for name, times in seconds.items()
    ]
    for name, bar in ((as_shipped, _BAR), (prepared, None), (torch, 1.0)):
        if name in seconds:
            ratios = [theirs / own for theirs, own in zip(seconds[name], seconds[ours], strict=True)]
            reached = None if bar is None else statistics.median(ratios) >= bar
            goal = "" if bar is None else f"≥ {bar:g} ×" if bar > 1 else "goal 1 ×"
            figures.append(Figure(name=f"ours ÷ {name}", bar=goal, value=f"{_mean(ratios, 2)} ×", reached=reached))
    return figures


def _mean(values: Sequence[float], digits: int) -> str:
    """Return median, mean and standard deviation."""
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    median, mean = statistics.median(values), statistics.fmean(values)
    return f"{median:,.{digits}f} (mean {mean:,.{digits}f} ± {sd:,.{digits}f}, {len(values)} turns)"
