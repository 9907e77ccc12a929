"""Checkpoints written behind training's back: a step waits for the copy to host memory, and for nothing that a disk does.

`submit` takes a checkpoint's contents, arrays that nobody changes any more, and returns; a thread writes them in the order in
which they came, each as `pretrain.checkpoint` does, and then removes those no longer kept. One checkpoint is being written and
at most one waits: when a third comes before the disk has taken the first, `submit` waits, for memory is finite too.

An error of the thread is raised in training by the next `submit`, `check`, `wait` or `finish`; nothing is written after it.
A process killed in the middle leaves what a kill in a save of the ordinary kind leaves: a temporary folder, to be swept.

A thread is enough, and a process would need a second copy: hashing, writing and fsync all let go of Python's lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pretrain.checkpoint import Checkpoint, Contents, prune, step_folder, write_checkpoint

Written = Callable[[Checkpoint], None]
Spared = Callable[[], frozenset[Path]]


def _say_nothing(checkpoint: Checkpoint) -> None:
    """Nobody wants to know."""


def _nothing() -> frozenset[Path]:
    return frozenset()


class CheckpointWriter:
    """Writes the checkpoints of one run and keeps the newest `keep` and the best.

    `written` is told, on the thread, of each one that is on disk; `spared` names those that are in use, and kept for now.
    """

    def __init__(self, run: Path, *, keep: int, written: Written = _say_nothing, spared: Spared = _nothing) -> None:
        self._run, self._keep, self._written, self._spared = run, keep, written, spared
        self._waiting: queue.Queue[Contents | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self._last: Checkpoint | None = None
        self._thread: threading.Thread | None = None

    def submit(self, contents: Contents) -> None:
        """Have a checkpoint written. Raises what an earlier one met."""
        self.check()
        if self._thread is None:
            # A daemon: a second Ctrl-C ends the process at once.
            self._thread = threading.Thread(target=self._work, daemon=True, name="checkpoint-writer")
            self._thread.start()
        self._waiting.put(contents)

    def check(self) -> None:
        """Raise the error that the thread met, if it did; as StorageError when the disk refused."""
        if self._error is not None:
            raise self._error

    def wait(self) -> Checkpoint | None:
        """Wait until everything submitted is on disk; return the checkpoint written last, None when there was none."""
        self._waiting.join()
        self.check()
        return self._last

    def finish(self) -> Checkpoint | None:
        """`wait`, and end the thread."""
        try:
            return self.wait()
        finally:
            self._end()

    def abandon(self) -> None:
        """Let what was submitted be written, and end the thread without a word: something else has gone wrong already."""
        with suppress(BaseException):
            self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (contents := self._waiting.get()) is not None:
            try:
                if self._error is None:
                    self._write(contents)
            except BaseException as error:  # handed over to the training thread, whatever it is
                self._error = error
            finally:
                del contents  # the arrays of a large network are not kept for the time of another
                self._waiting.task_done()
        self._waiting.task_done()

    def _write(self, contents: Contents) -> None:
        self._last = write_checkpoint(step_folder(self._run, contents.step), contents)
        self._written(self._last)
        prune(self._run, keep=self._keep, spared=self._spared())
