"""One step of a workflow: a public command, run as a subprocess.

The child's stdout carries one line, the object of ``--json``; its stderr is ours, so a terminal stays a terminal and progress
bars stay bars. A step shares our process group: Ctrl-C reaches it directly, and we wait until it has saved what it can.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from shards.cli import Interrupted
from workflows.errors import StepError


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command with what goes in and what comes out.

    argv: options; a `Path` is a place that may move together with the output folder.
    inputs: label → file or folder whose content matters. outputs: what must be there afterwards; what the command reports
    as its outputs is added to them.
    again: options for a second start, such as leave to replace what the first one wrote.
    note: what a reader of its results should know; shown in the report.
    run_folder: a training run this step writes. An unfinished one made from the same inputs goes on; any other one that this
    workflow made is removed before the step starts.
    """

    name: str
    module: str
    argv: tuple[str | Path, ...]
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    again: tuple[str, ...] = ()
    note: str = ""
    run_folder: Path | None = None

    def command_line(self) -> str:
        """Return the command as a person would type it."""
        return shlex.join(["python", "-m", self.module, *map(str, self.argv)])


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a finished step said: the object of its ``--json``, and how long it took."""

    report: Mapping[str, Any]
    elapsed_s: float


def run_step(step: Step, *, again: bool) -> StepResult:
    """Run a step to its end; `again` adds its options for a second start.

    Raises StepError with the step's exit code when it fails, Interrupted when a signal asked us to stop.
    """
    extra = step.again if again else ()
    command = [sys.executable, "-m", step.module, *map(str, step.argv), *extra, "--json"]
    begun = time.monotonic()
    # The child's prints go to our stderr through what was a pipe when it started: without this they would come in blocks.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with _noted_signals() as noted:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment) as child:
            noted.child = child
            assert child.stdout is not None
            last_line = b""
            for line in child.stdout:
                last_line = line if line.strip() else last_line
        code = child.returncode
    report = _parse(last_line)
    if noted.number is not None and (code != 0 or report is None):
        raise Interrupted(noted.number, f"step {step.name} was interrupted")
    if code != 0:
        raise _failure(step, code, report)
    if report is None:
        raise StepError("ended without a report", where=f"step {step.name}", expected="one JSON object", got=repr(last_line[:80]))
    if noted.number is not None:
        raise Interrupted(noted.number, f"step {step.name} had just ended")
    return StepResult(report=report, elapsed_s=time.monotonic() - begun)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _failure(step: Step, code: int, report: Mapping[str, Any] | None) -> StepError:
    place = f"step {step.name}"
    if code < 0:
        name = signal.Signals(-code).name
        hint = "Memory may have run out" if -code == signal.SIGKILL else None
        return StepError(f"the command was killed by {name}", where=place, hint=hint).ending_with(128 - code)
    said = str((report or {}).get("error", "")).removeprefix("error: ")
    what = said or f"the command failed with exit code {code}; what it said stands above"
    return StepError(what, where=place).ending_with(code)


class _Noted:
    """A signal that came while a child was at work."""

    number: int | None = None
    child: subprocess.Popen[bytes] | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self.child is not None and not (number == signal.SIGINT and _terminal_is_ours()):
            # SIGTERM, not SIGINT: should the whole group have been sent a SIGINT, a second one would mean "do not save".
            with suppress(ProcessLookupError):
                self.child.terminate()


def _terminal_is_ours() -> bool:
    """Tell whether Ctrl-C at a terminal sends SIGINT to our process group, hence to the child as well."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _noted_signals() -> Iterator[_Noted]:
    noted = _Noted()
    before = {number: signal.signal(number, noted.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
