"""Who looks at a run beside the log: dashboards, and a bar on a terminal. None of them can change what is trained.

VisualDL and TensorBoard (through tensorboardX) are written to where they are installed, ``runs/<name>/dashboard``. A resumed run
adds files there; steps that are trained again appear in both.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = "dashboard"
# Package, and the class of its writer.
_WRITERS = (("visualdl", "LogWriter"), ("tensorboardX", "SummaryWriter"))


class Observers:
    """Dashboards and bar of one run; nothing at all unless `active`."""

    def __init__(self, run: Path, *, step: int, last_step: int, active: bool) -> None:
        from tqdm import tqdm

        self._folder = run / FOLDER
        self._found = [(package, writer) for package, writer in _WRITERS if active and find_spec(package) is not None]
        self._writers: list[Any] | None = None
        hidden = not active or not sys.stderr.isatty()
        self._bar: Any = tqdm(total=last_step, initial=step, unit="step", leave=False, disable=hidden, smoothing=0.05)

    @property
    def described(self) -> list[str]:
        """Say how to look at the dashboards, a line each."""
        programs = {"visualdl": "visualdl", "tensorboardX": "tensorboard"}
        return [f"dashboard: {programs[package]} --logdir {self._folder}" for package, _ in self._found]

    def advance(self, last_step: int, loss: float | None = None) -> None:
        """Count one more step of training, of now `last_step`."""
        if self._bar.disable:
            return
        self._bar.total = last_step
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update(1)

    def note(self, group: str, step: int, figures: Mapping[str, Any]) -> None:
        """Show the numbers of a record as ``group/name`` at a step."""
        if self._writers is None:
            self._writers = [getattr(importlib.import_module(p), w)(logdir=str(self._folder)) for p, w in self._found]
        for name, value in figures.items():
            if name == "step" or not isinstance(value, (int, float)):
                continue
            for writer in self._writers:
                writer.add_scalar(f"{group}/{name}", float(value), step)

    def close(self) -> None:
        """Write out what is held back, and take the bar away."""
        self._bar.close()
        for writer in self._writers or ():
            writer.close()
