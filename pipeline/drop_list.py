"""The documents that deduplication takes out: a sorted file that every worker maps into memory.

A document is named by its input file's index and by the row of its first line as the reader gave it, before any stage.
One entry is one uint64: file (22 bits), row (40 bits), reason (2 bits); entries ascend, behind eight bytes that name the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.documents import Document, Drop
from pipeline.errors import InputError
from shards.durable import commit_stream
from shards.errors import FormatError, NotFoundError

REASONS = ("", "duplicate", "near_duplicate")
DROP_LIST = "duplicates.list"  # its name in the work folder of a build
_MAGIC = b"WLDROP01"
_MAX_FILE, _MAX_ROW = (1 << 22) - 1, (1 << 40) - 1


class DropList:
    """See the module docstring."""

    def __init__(self, path: Path, entries: NDArray[np.uint64]) -> None:
        self.path, self._entries = path, entries

    @classmethod
    def open(cls, path: Path) -> DropList:
        """Map a list. Raises NotFoundError and FormatError."""
        try:
            size = path.stat().st_size
            with open(path, "rb") as file:
                magic = file.read(len(_MAGIC))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError("no list of duplicates", where=path, hint="Start the build again") from None
        if magic != _MAGIC or (size - len(_MAGIC)) % 8:
            raise FormatError("is no list of duplicates, or a part of one", where=path, hint="Start the build again")
        if size == len(_MAGIC):
            return cls(path, np.empty(0, np.uint64))
        return cls(path, np.asarray(np.memmap(path, "<u8", "r", offset=len(_MAGIC))))

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        """Yield (file index, row, reason) in order."""
        for entry in self._entries:
            value = int(entry)
            yield value >> 42, value >> 2 & _MAX_ROW, REASONS[value & 3]

    def reason(self, file_index: int, row: int) -> str | None:
        """Return why a document is left out; None for one that stays."""
        low = file_index << 42 | row << 2
        position = int(np.searchsorted(self._entries, np.uint64(low)))
        if position == len(self._entries):
            return None
        entry = int(self._entries[position])
        return REASONS[entry & 3] if entry >> 2 == low >> 2 else None

    def counts(self) -> dict[str, int]:
        """Return the number of documents left out, by reason."""
        found = dict.fromkeys(REASONS[1:], 0)
        for begin in range(0, len(self._entries), 1 << 20):
            codes, counts = np.unique(self._entries[begin : begin + (1 << 20)] & np.uint64(3), return_counts=True)
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
                found[REASONS[code]] += count
        return found


class Listed:
    """Takes the documents of one input file that a drop list names out of a stream; put before all stages."""

    def __init__(self, drop_list: DropList, file_index: int) -> None:
        self._drop_list, self._file_index = drop_list, file_index

    @property
    def description(self) -> dict[str, object]:
        """Return a name only: the recipe names the settings of deduplication, not its outcome."""
        return {"name": "listed"}

    def __call__(self, document: Document) -> Document | Drop:
        reason = self._drop_list.reason(self._file_index, document.rows[0])
        return document if reason is None else Drop(reason=reason)


def write_drop_list(path: Path, entries: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]]) -> DropList:
    """Commit a list of (file indices, rows, reason codes), ascending by file and row, and open it."""
    with commit_stream(path) as stream:
        stream.write(_MAGIC)
        for file, row, reason in entries:
            if len(row) and (int(file.max()) > _MAX_FILE or int(row.max()) > _MAX_ROW):
                raise InputError(f"deduplication takes up to {_MAX_FILE:,} files of {_MAX_ROW:,} rows")
            stream.write((file << np.uint64(42) | row << np.uint64(2) | reason).astype("<u8").tobytes())
    return DropList.open(path)
