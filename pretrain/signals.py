"""Stopping in order: a signal is noted, the step in hand is finished, what there is gets saved.

A second SIGINT means that the user will not wait: it interrupts at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

from pretrain.distributed import SPAWNED

HANDLED = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Context in which SIGINT and SIGTERM are noted in `pending` and not obeyed. The main thread only."""

    def __init__(self) -> None:
        self.pending: int | None = None
        launcher = os.environ.get(SPAWNED, "")
        self._launcher = int(launcher) if launcher.isdigit() else None

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.pending == signal.SIGINT:
            raise KeyboardInterrupt
        self.pending = number

    def poll(self) -> int | None:
        """Return the signal to stop for, if any; a launcher that died counts as SIGTERM."""
        if self.pending is None and self._launcher is not None and os.getppid() != self._launcher:
            self.pending = int(signal.SIGTERM)
        return self.pending
