"""Micro-batches as a pure function of their number, read ahead by other processes.

Step s (from 1) takes the positions [start(s), start(s) + G) of the endless order of samples; G may change from stage to stage
of a run, start(s) is the sum of all earlier G (`shards.batch_sizes`). Rank r of R takes the contiguous slice
[G·r // R, G·(r + 1) // R) of them, and cuts it into micro-batches. Which samples a step sees, and in which order, depends on
neither R, nor the size of micro-batches, nor the number of loader processes; and any step can be computed without those
before it, which is all that resuming takes.

`paddle.io.DataLoader` does the reading ahead. Batches cross the process border through a pipe and not through its shared
memory: a killed process would leave its segments in /dev/shm for ever, containers often give that 64 MB, and for
arrays of this size it is no faster. Three of its habits are answered here: workers die noisily of the Ctrl-C that was meant
for their parent (they ignore it), never notice that the parent was killed (they watch), and an error in one is printed as
a traceback by a thread (it is sent as a value, and raised by whoever asks for the batch).
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shards import errors
from shards.batch_sizes import BatchSizes
from shards.collate import NO_PAIR, BatchPlan, collate, empty_batch
from shards.reader import Split
from shards.sampler import Drawing, Sampler
from shards.sampling import sampling_draws
from shards.transport import pack, unpack

Arrays = dict[str, npt.NDArray[Any]]

INPUT_KEYS = ("input_ids", "token_type_ids", "lengths", "masked_positions")  # the order of PretrainingModel's arguments
LABEL_KEYS = ("masked_labels", "sop_labels")
PACKING_KEYS = ("documents", "first_positions")  # only where rows hold several samples; see `shards.collate`
DRAWS = "draws"
_ERROR = "error"
_WATCH_INTERVAL_S = 0.5


class MicroBatches:
    """The micro-batches of one rank, numbered from 0 through all steps. A map-style data set for paddle.

    Those of step s are numbered from ``first_number(s)`` and are ``micro_batches_of(s)``.

    Each is the dictionary of `shards.collate.collate`, with three more int64 arrays: counts [3] (masked tokens, sentence
    pairs, tokens with specials), epochs [S] and set_index [S] (which of the data sets each sample is from). With `draws`, there
    is float64[M] `draws` too, see `shards.sampling`. Sizes of batches count units: samples, or with packing rows of several.
    """

    def __init__(
        self,
        split: Split,
        plan: BatchPlan,
        *,
        global_batch: int | BatchSizes,
        micro_batch: int,
        rank: int = 0,
        ranks: int = 1,
        draws: bool = False,
        drawing: Drawing | None = None,
    ) -> None:
        self._split, self._plan, self._draws = split, plan, draws
        self.sizes = global_batch if isinstance(global_batch, BatchSizes) else BatchSizes.constant(global_batch)
        self.sampler = Sampler(split, self.sizes, drawing or Drawing(seed=plan.seed))
        self._slices = [_slices(size, micro_batch, rank, ranks) for _, size in self.sizes.stages]
        self._per_step = [len(slices) for slices in self._slices]

    @property
    def per_step(self) -> int:
        """Micro-batches of a step of the first stage."""
        return self._per_step[0]

    def micro_batches_of(self, step: int) -> int:
        return self._per_step[self.sizes.stage_of(step)]

    def first_number(self, step: int) -> int:
        """Return the number of the first micro-batch of `step`."""
        return self.sizes.sum_before(step, self._per_step)

    def __len__(self) -> int:
        return 2**62  # endless; paddle asks only to print

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        """Return micro-batch `number` as one buffer, or the error met in making it, for `unpacked`."""
        return sent(self.make, number)

    def make(self, number: int) -> Arrays:
        """Return micro-batch `number`.

        Raises what the reading of shards raises, and UsageError for a step whose samples are all to be left out.
        """
        step, part = self.sizes.step_at(number, self._per_step)
        first, end = self._slices[self.sizes.stage_of(step)][part]
        plan, drawn = self._plan.at_step(step), self.sampler.draw(step, first, end)
        packed = bool(self.sampler.drawing.packings)
        if len(drawn.rows):
            rows = self._split.take(drawn.rows)
            batch: Arrays = dict(collate(rows, drawn.epochs, plan, drawn.offsets if packed else None))
            if self._draws:
                batch[DRAWS] = sampling_draws(rows, drawn.epochs, plan.seed, batch)
        else:
            batch = self._without_samples(step, plan, packed=packed)
        pairs = int((batch["sop_labels"] != NO_PAIR).sum())
        batch["counts"] = np.array([len(batch["masked_labels"]), pairs, batch["lengths"].sum()], np.int64)
        batch["epochs"] = drawn.epochs
        batch["set_index"] = self._split.identify(drawn.rows)[0]
        return batch

    def _without_samples(self, step: int, plan: BatchPlan, *, packed: bool) -> Arrays:
        """Return a micro-batch whose samples are all left out. Raises UsageError when the others of the step have none either."""
        if not len(self.sampler.draw(step).rows):
            raise errors.UsageError("no sample of a step is left", where=f"step {step}", hint="Leave out fewer: --skip-samples")
        batch: Arrays = dict(empty_batch(plan, packed=packed))
        if self._draws:
            batch[DRAWS] = np.empty(0, np.float64)
        return batch


def _slices(global_batch: int, micro_batch: int, rank: int, ranks: int) -> list[tuple[int, int]]:
    """Return (first, end) of the rank's micro-batches within a step."""
    begin, end = global_batch * rank // ranks, global_batch * (rank + 1) // ranks
    return [(first, min(first + micro_batch, end)) for first in range(begin, end, micro_batch)]


def sent(make: Callable[[int], Arrays], number: int) -> npt.NDArray[np.uint8]:
    """Return what `make` makes of `number` as one buffer, or the error that it raises, for `unpacked`."""
    try:
        return pack(make(number))
    except errors.WordloomError as error:
        text = json.dumps({"kind": type(error).__name__, "text": str(error)})
        return pack({_ERROR: np.frombuffer(text.encode(), np.uint8)})


def unpacked(buffer: npt.NDArray[np.uint8]) -> Arrays:
    """Return the arrays of a batch that a worker sent. Raises the error that it sent in place of one, if it did."""
    arrays = unpack(buffer)
    if _ERROR in arrays:
        sent = json.loads(arrays[_ERROR].tobytes())
        kind = getattr(errors, sent["kind"], errors.WordloomError)
        raise kind(sent["text"])
    return arrays


class Numbered(Protocol):
    """Micro-batches by number."""

    @property
    def per_step(self) -> int:
        """Micro-batches of a step, about."""

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]: ...


class _Numbers:
    """The numbers of the micro-batches to come, as a batch sampler; ends early once it is told to."""

    def __init__(self, first: int, end: int) -> None:
        self._first, self._end, self.stopped = first, end, False

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._first, self._end):
            if self.stopped:
                return
            yield [number]

    def __len__(self) -> int:
        return self._end - self._first


class Loader:
    """Reads micro-batches [first, end) in order, `workers` processes ahead of training (0: a thread of this one).

    `wait_s` adds up the wall-clock time that `next` kept its caller waiting.
    """

    def __init__(self, batches: Numbered, *, first: int, end: int, workers: int) -> None:
        import paddle

        self._to_tensor = partial(paddle.to_tensor, place=paddle.CPUPlace())
        self._numbers = _Numbers(first, end)
        self.wait_s = 0.0
        per_worker = -(-(batches.per_step + 2) // max(workers, 1))  # a step's worth, and the start of the next
        loader = paddle.io.DataLoader(
            batches,
            batch_sampler=self._numbers,
            collate_fn=_only_one,
            num_workers=workers,
            worker_init_fn=_init_worker,
            use_shared_memory=False,
            prefetch_factor=max(2, per_worker),
            places=[paddle.CPUPlace()],
            return_list=True,
        )
        before = set(multiprocessing.active_children())
        self._iterator = iter(loader)
        self._workers = set(multiprocessing.active_children()) - before
        # Without this a process that ends without `close` would wait for ever for workers that ignore SIGTERM.
        atexit.register(self._kill_workers)

    def next(self) -> dict[str, Any]:
        """Return the next micro-batch as CPU tensors. Raises what went wrong in a worker."""
        started = time.perf_counter()
        buffer = next(self._iterator)
        self.wait_s += time.perf_counter() - started
        return {name: self._to_tensor(array) for name, array in unpacked(buffer.numpy()).items()}

    def close(self) -> None:
        """End the workers in order: no more numbers, and drain what is on its way."""
        self._numbers.stopped = True
        try:
            for _ in self._iterator:
                pass
        except (RuntimeError, SystemError):
            self._kill_workers()  # one is dead already; what matters was raised by `next`
        atexit.unregister(self._kill_workers)

    def _kill_workers(self) -> None:
        for worker in self._workers:
            worker.kill()


def _only_one(items: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return items[0]


def _init_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True, name=f"watch-{worker}").start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_INTERVAL_S)
    os._exit(0)
