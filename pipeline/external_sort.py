"""Sorting more records than fit in memory: sorted runs on disk, merged block by block.

A record is a row of `width` uint64 numbers, compared from left to right. Memory stays below `max_bytes` whatever the number of
records and whatever their values: runs are as long as fits, and a merge reads a block of each run at a time; more runs than a
merge can hold blocks of are merged in several passes. The order of equal records is of no meaning, since they are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.durable import commit_stream, remove_file

Records = NDArray[np.uint64]

# Sorting copies: the records, their order (8 bytes each) and the sorted copy exist at once, beside what is being merged.
_COPIES = 6
_MIN_BLOCK_RECORDS = 64


def sort_records(records: Records) -> Records:
    """Return the records in order."""
    order = np.argsort(records[:, 0], kind="stable")
    result = records[order]
    if records.shape[1] > 1 and len(result) > 1 and (result[1:, 0] == result[:-1, 0]).any():
        result = result[np.lexsort(result.T[::-1])]
    return result


def write_run(path: Path, records: Records) -> None:
    """Commit sorted records as a run: the numbers, little-endian, and nothing else."""
    with commit_stream(path) as file:
        file.write(np.ascontiguousarray(records, "<u8").tobytes())


class ExternalSort:
    """Takes records in any order and gives them back sorted; see the module docstring.

    Runs lie in `folder` under names that begin with `name`; they are deleted as they have been read.
    """

    def __init__(self, folder: Path, name: str, width: int, max_bytes: int) -> None:
        self._folder, self._name, self._width = folder, name, width
        self._max_records = max(max_bytes // (8 * width) // _COPIES, 4 * _MIN_BLOCK_RECORDS)
        self._runs: list[Path] = []
        self._written = 0
        self._waiting: list[Records] = []
        self._waiting_records = 0

    def add(self, records: Records) -> None:
        """Take records, uint64 [n, width]."""
        for begin in range(0, len(records), self._max_records):
            part = records[begin : begin + self._max_records]
            if self._waiting_records + len(part) > self._max_records:
                self._spill()
            self._waiting.append(part)
            self._waiting_records += len(part)

    def add_run(self, path: Path) -> None:
        """Take a run that another process wrote with `write_run`."""
        self._runs.append(path)

    def chunks(self) -> Iterator[Records]:
        """Yield all records in order, in chunks; equal leading numbers may be parted by a chunk's end. To be called once."""
        if not self._runs:
            if self._waiting:
                records = sort_records(np.concatenate(self._waiting))
                self._waiting = []
                yield records
            return
        if self._waiting:
            self._spill()
        fan_in = max(self._max_records // _MIN_BLOCK_RECORDS, 2)
        while len(self._runs) > fan_in:
            first, self._runs = self._runs[:fan_in], self._runs[fan_in:]
            self._runs.append(self._merge_to_file(first))
        yield from self._merged(self._runs)
        self._delete(self._runs)

    def _spill(self) -> None:
        path = self._new_path()
        write_run(path, sort_records(np.concatenate(self._waiting)))
        self._runs.append(path)
        self._waiting, self._waiting_records = [], 0

    def _new_path(self) -> Path:
        self._written += 1
        return self._folder / f"{self._name}-{self._written:06d}.run"

    def _merge_to_file(self, runs: list[Path]) -> Path:
        path = self._new_path()
        with commit_stream(path) as file:
            for records in self._merged(runs):
                file.write(np.ascontiguousarray(records, "<u8").tobytes())
        self._delete(runs)
        return path

    def _merged(self, runs: list[Path]) -> Iterator[Records]:
        """Each round takes, from every run's block, the records up to the least of the blocks' last: none behind can be lower."""
        size = max(self._max_records // max(len(runs), 1), _MIN_BLOCK_RECORDS)
        readers = [_Run(path, self._width, size) for path in runs]
        while readers := [reader for reader in readers if reader.fill()]:
            ended = [reader.block[-1].tolist() for reader in readers if reader.more]
            bound = min(ended) if ended else None
            yield sort_records(np.concatenate([reader.take(bound) for reader in readers]))

    def _delete(self, runs: list[Path]) -> None:
        for path in runs:
            remove_file(path)


class _Run:
    """One run being read; holds a block of it, and no open file between reads: runs may outnumber what a process may open."""

    def __init__(self, path: Path, width: int, size: int) -> None:
        self._path, self._width, self._size = path, width, size
        self._left = path.stat().st_size // (8 * width)
        self._offset = 0
        self.block: Records = np.empty((0, width), np.uint64)

    @property
    def more(self) -> bool:
        return self._left > 0

    def fill(self) -> bool:
        """Read the next block when the last is used up; return whether there are records."""
        if not len(self.block) and self._left:
            count = min(self._size, self._left)
            numbers = np.fromfile(self._path, "<u8", count * self._width, offset=self._offset)
            self.block = numbers.reshape(count, self._width)
            self._offset += numbers.nbytes
            self._left -= count
        return len(self.block) > 0

    def take(self, bound: list[int] | None) -> Records:
        """Return the records up to and with `bound` (None: all) and keep the rest."""
        count = len(self.block) if bound is None else _count_up_to(self.block, bound)
        taken, self.block = self.block[:count], self.block[count:]
        return taken


def _count_up_to(block: Records, bound: list[int]) -> int:
    """Return how many of a sorted block's records are at most `bound`."""
    low, high = 0, len(block)
    for column, value in enumerate(bound):
        part = block[low:high, column]
        number = np.uint64(value)
        low, high = low + int(np.searchsorted(part, number, "left")), low + int(np.searchsorted(part, number, "right"))
        if low == high:
            return low
    return high
