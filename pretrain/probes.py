"""Probes: a small downstream task on every k-th step's checkpoint, by a public command of `finetune`, in a process of its own.

``--probe "glue --task SST-2 --epochs 1"`` runs ``python -m finetune.glue --task SST-2 --epochs 1 --model CHECKPOINT --out
RUN/probes/step-… --json``. Training does not wait: probes run beside it, one at a time, in the order of their checkpoints, which
are not removed before their probe is done. What a probe prints as figures becomes a record of metrics.jsonl with the key
``probe``; one that fails is reported there and on the log, and that is all that it does.

At the end of training the probes still to come are waited for. A run that is stopped or killed gives up the probe in hand
and those that wait; when it goes on, the probe of the checkpoint that it starts from is made up for.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrain.checkpoint import Checkpoint
from pretrain.log_line import append_metrics, read_metrics, say
from shards.errors import UsageError

PROBES = "probes"
_PACKAGE = "finetune"
_POLL_S = 0.1
_RESERVED = ("--model", "--out", "--json")
_LAUNCHER_VARIABLES = ("PADDLE_", "WORDLOOM_LAUNCHER", "FLAGS_selected_gpus")


def probe_command(text: str) -> list[str]:
    """Return the module and flags of ``--probe text``. Raises UsageError for what no command of finetune could be."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--probe {text!r} cannot be split into words: {error}") from None
    known = Path(__file__).resolve().parent.parent / _PACKAGE
    if not words or not words[0].isidentifier() or not (known / f"{words[0]}.py").is_file():
        raise UsageError(
            f"--probe {text!r} does not begin with a command of {_PACKAGE}",
            expected='for instance "glue --task SST-2 --epochs 1"',
        )
    if taken := [word for word in words if word.partition("=")[0] in _RESERVED]:
        raise UsageError(f"--probe {text!r}: {taken[0]} is set for it")
    return [f"{_PACKAGE}.{words[0]}", *words[1:]]


class Probes:
    """Probes of one run, on steps that are multiples of `every`; without a `command` (`probe_command`) there are none."""

    def __init__(self, run: Path, command: Sequence[str] | None, *, every: int) -> None:
        self._run, self._command, self._every = run, command, every
        self._waiting: queue.Queue[Checkpoint | None] = queue.Queue()
        self._in_use: set[Path] = set()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._given_up = False
        self._thread: threading.Thread | None = None

    def spared(self) -> frozenset[Path]:
        """Return the checkpoints that probes still need."""
        with self._lock:
            return frozenset(self._in_use)

    def submit(self, checkpoint: Checkpoint) -> None:
        """Have a probe made of `checkpoint`, if its step is one of those and has none yet."""
        if self._command is None or checkpoint.step % self._every or self._is_made(checkpoint.step):
            return
        with self._lock:
            self._in_use.add(checkpoint.path)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="probes")
            self._thread.start()
        self._waiting.put(checkpoint)

    def finish(self, stop: Callable[[], int | None]) -> None:
        """Wait for all probes that were submitted, unless `stop` returns a signal."""
        if self._thread is None:
            return
        if left := len(self.spared()):
            say(f"waiting for {left} probe{'s' if left > 1 else ''}")
        self._waiting.put(None)
        while self._thread.is_alive():
            self._thread.join(_POLL_S)
            if stop() is not None:
                self.give_up()
                return
        self._thread = None

    def give_up(self) -> None:
        """End the probe in hand and forget the others."""
        with self._lock:
            self._given_up = True
            if self._child is not None:
                self._child.kill()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _is_made(self, step: int) -> bool:
        return any("probe" in record and record["step"] == step for record in read_metrics(self._run))

    def _work(self) -> None:
        while (checkpoint := self._waiting.get()) is not None:
            if not self._given_up:
                found = self._probe(checkpoint)
                if not self._given_up:
                    self._report(checkpoint.step, found)
            with self._lock:
                self._in_use.discard(checkpoint.path)

    def _probe(self, checkpoint: Checkpoint) -> dict[str, Any]:
        assert self._command is not None
        module, *flags = self._command
        out = self._run / PROBES / checkpoint.path.name
        command = [sys.executable, "-m", module, *flags, "--model", str(checkpoint.path), "--out", str(out), "--json"]
        try:
            with self._lock:
                if self._given_up:
                    return {}
                # A session of its own: Ctrl-C is for training, which ends its probe itself.
                self._child = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(), start_new_session=True
                )
            stdout, stderr = self._child.communicate()
        except OSError as error:
            return {"error": str(error)}
        return _result(self._child.returncode, stdout, stderr)

    def _report(self, step: int, found: Mapping[str, Any]) -> None:
        try:
            assert self._command is not None
            append_metrics(self._run, {"step": step, "probe": {"command": shlex.join(self._command), **found}})
            what = f"failed: {found['error']}" if "error" in found else json.dumps(found["figures"], ensure_ascii=False)
            say(f"probe step {step}, {what}")
        except Exception as error:  # a probe never ends training, whatever becomes of its result
            say(f"probe step {step}, failed: {type(error).__name__}: {error}")


def _result(code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Return the figures of the command's JSON object, or its error."""
    try:
        report = json.loads(stdout.splitlines()[-1])
        if code == 0 and report["ok"]:
            return {"figures": report["figures"]}
        return {"error": str(report.get("error", f"exit code {code}"))}
    except (ValueError, IndexError, KeyError, TypeError):
        last = stderr.strip().splitlines()[-1:] or [f"exit code {code}"]
        return {"error": last[0]}


def _environment() -> dict[str, str]:
    """Return an environment in which the child is no member of training's group of processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER_VARIABLES)}
    root = str(Path(__file__).resolve().parent.parent)
    return kept | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
