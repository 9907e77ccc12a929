"""Spooled blocks: plain files that hold one or more whole units each, committed one by one."""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from shards.durable import FileDigest, HashedFile, commit_stream

_RECORD = re.compile(rb"\[(\d+)")


class BlockWriter:
    """Takes the units of one file after the other (`pipeline.cuts.UnitSink`).

    A block is closed at the first end of a unit at which it holds `unit_bytes`, so that an archive of many small members needs
    few files.
    """

    def __init__(self, folder: Path, unit_bytes: int) -> None:
        self._folder, self._unit_bytes = folder, unit_bytes
        self._committing: AbstractContextManager[HashedFile] | None = None
        self._file: HashedFile | None = None
        self.digests: list[FileDigest] = []
        self.begin_file(records=False)

    def begin_file(self, *, records: bool) -> None:
        """Begin the next file; with `records` its lines say their own row numbers."""
        self._records = records
        self._cuts: list[tuple[int, int, int, str]] = []
        self._blocks: list[str] = []
        self.row = self._first_row = 1
        self._size, self._hash = 0, hashlib.sha256()

    def end_file(self) -> tuple[tuple[tuple[int, int, int, str], ...], tuple[str, ...]]:
        """Return the cuts of the file, and the block that holds each."""
        return tuple(self._cuts), tuple(self._blocks)

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._committing = commit_stream(self._path())
            self._file = self._committing.__enter__()
        if not self._size and self._records and (number := _RECORD.match(data)):
            self.row = self._first_row = int(number[1])
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        self.row += data.count(b"\n")

    def end_unit(self) -> None:
        assert self._file is not None
        end = self._file.tell()
        self._cuts.append((end - self._size, end, self._first_row, self._hash.hexdigest()))
        self._blocks.append(str(self._path()))
        self._first_row, self._size, self._hash = self.row, 0, hashlib.sha256()
        if end >= self._unit_bytes:
            self._close()

    def _path(self) -> Path:
        return self._folder.absolute() / block_name(len(self.digests))

    def _close(self) -> None:
        if self._committing is not None and self._file is not None:
            committing, self._committing = self._committing, None
            committing.__exit__(None, None, None)
            self.digests.append(self._file.digest)
            self._file = None

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._close()
        elif self._committing is not None:
            committing, self._committing = self._committing, None
            committing.__exit__(kind, error, trace)


def block_name(index: int) -> str:
    return f"block-{index:05d}"
