"""One shard, memory-mapped: rows at any position, without reading the rest.

The columns of a record batch lie in the file as plain buffers. Token ids are numpy views of the map; word starts are bits,
unpacked row by row. Nothing is copied but the rows that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards.columns import BATCH_ROWS, Columns, StaticMasks, match_schema
from shards.durable import hash_file
from shards.errors import FormatError, IntegrityError, NotFoundError
from shards.manifest import ShardEntry

I64 = npt.NDArray[np.int64]
_KEPT_BATCHES = 4096


@dataclass(frozen=True)
class _Lists:
    """A list column of one batch: row i is values[offsets[i]:offsets[i + 1]]; bits hold eight values a byte."""

    offsets: npt.NDArray[np.int32]
    values: npt.NDArray[Any]


@dataclass(frozen=True)
class _Static:
    positions: _Lists
    ids: _Lists
    sop_swapped: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Batch:
    ids: _Lists
    word_start: _Lists
    split: npt.NDArray[np.uint16]
    source_file: npt.NDArray[np.uint32]
    source_row: npt.NDArray[np.uint64]
    static: _Static | None


Found: TypeAlias = tuple[_Batch, int]


class ShardFile:
    """An open shard.

    Raises NotFoundError, IntegrityError (size or sha256 differ from the manifest's) or FormatError (not our schema, rows that
    do not match the manifest's, offsets that lead out of the file).
    """

    def __init__(self, path: Path, entry: ShardEntry, *, verify: bool) -> None:
        self.path, self.entry = path, entry
        if path.is_symlink() or not path.is_file():
            raise NotFoundError("shard is missing, or not a plain file", where=path, hint="Build the data set again")
        if (size := path.stat().st_size) != entry.bytes:
            raise IntegrityError(
                "shard is truncated or altered", where=path, expected=f"{entry.bytes} bytes", got=f"{size} bytes"
            )
        if verify and (found := hash_file(path).sha256) != entry.sha256:
            raise IntegrityError("shard is altered", where=path, expected=f"sha256 {entry.sha256}", got=found)
        try:
            self._map = pa.memory_map(str(path), "r")
            reader = pa.ipc.open_file(self._map)
        except (pa.ArrowInvalid, OSError) as error:
            raise FormatError(f"not an Arrow file: {error}", where=path) from None
        self.id_dtype, self.static = match_schema(reader.schema, path)
        self._reader = reader
        if reader.num_record_batches != -(-entry.rows // BATCH_ROWS):
            raise FormatError(
                "wrong number of record batches", where=path, expected=-(-entry.rows // BATCH_ROWS), got=reader.num_record_batches
            )
        self._batches: dict[int, _Batch] = {}

    def take(self, rows: I64) -> Columns:
        """Return the given rows, in the given order; rows are in [0, entry.rows)."""
        return gather([self.find(row) for row in rows.tolist()], self.id_dtype)

    def find(self, row: int) -> Found:
        """Return where a row lies, for `gather`."""
        return self._batch(row // BATCH_ROWS), row % BATCH_ROWS

    def lengths(self, rows: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
        """Return (tokens without special ones, whether the sample is a pair) of rows, reading no token."""
        tokens, paired = np.empty(len(rows), np.int64), np.empty(len(rows), np.bool_)
        number = rows // BATCH_ROWS
        borders = np.flatnonzero(np.diff(number, prepend=-1, append=-1))
        for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            batch, within = self._batch(int(number[begin])), rows[begin:end] % BATCH_ROWS
            tokens[begin:end] = batch.ids.offsets[within + 1] - batch.ids.offsets[within]
            paired[begin:end] = batch.split[within] > 0
        return tokens, paired

    def rows_from(self, file: int, row: int) -> I64:
        """Return the rows whose first sentence is line `row` of corpus file `file`, ascending."""
        found = []
        for index in range(self._reader.num_record_batches):
            batch = self._batch(index)
            found.append(index * BATCH_ROWS + np.flatnonzero((batch.source_row == row) & (batch.source_file == file)))
        rows: I64 = np.concatenate(found).astype(np.int64)
        return rows

    def _batch(self, index: int) -> _Batch:
        if index not in self._batches:
            if len(self._batches) >= _KEPT_BATCHES:  # views of the map, about 2 kB each: billions of rows must not add up
                del self._batches[next(iter(self._batches))]
            self._batches[index] = self._load(index)
        return self._batches[index]

    def _load(self, index: int) -> _Batch:
        where = f"{self.path}, record batch {index}"
        try:
            batch = self._reader.get_batch(index)
            batch.validate(full=True)
        except (pa.ArrowInvalid, pa.ArrowIndexError, OSError) as error:
            raise FormatError(f"unreadable: {error}", where=where) from None
        expected = min(BATCH_ROWS, self.entry.rows - index * BATCH_ROWS)
        if batch.num_rows != expected:
            raise FormatError("wrong number of rows", where=where, expected=expected, got=batch.num_rows)
        if any(column.null_count for column in batch.columns):
            raise FormatError("holds nulls", where=where)
        ids, starts = _lists(batch.column("input_ids"), self.id_dtype), _lists(batch.column("word_start"), None)
        if not np.array_equal(ids.offsets, starts.offsets):
            raise FormatError("input_ids and word_start differ in length", where=where)
        if len(ids.offsets) > 1 and not (np.diff(ids.offsets) > 0).all():
            raise FormatError("holds an empty sample", where=where)
        split = batch.column("split").to_numpy()
        if (split >= np.diff(ids.offsets)).any():
            raise FormatError("a split lies outside of its sample", where=where)
        source = batch.column("source")
        return _Batch(
            ids=ids,
            word_start=starts,
            split=split,
            source_file=source.field("file").to_numpy(),
            source_row=source.field("row").to_numpy(),
            static=self._load_static(batch) if self.static else None,
        )

    def _load_static(self, batch: pa.RecordBatch) -> _Static:
        return _Static(
            positions=_lists(batch.column("mask_positions"), np.dtype(np.uint16)),
            ids=_lists(batch.column("mask_ids"), self.id_dtype),
            sop_swapped=batch.column("sop_swapped").to_numpy(zero_copy_only=False),
        )


def gather(found: list[Found], dtype: np.dtype[Any]) -> Columns:
    """Return rows of any shards as columns; `dtype` is that of the token ids.

    Raises FormatError when some of them have static masks and some have not.
    """
    masks = [(batch.static, i) for batch, i in found if batch.static is not None]
    if masks and len(masks) != len(found):
        raise FormatError("some of the data sets have static masks and some have not", hint="Train on one kind at a time")
    ids, lengths = _joined([(batch.ids, i) for batch, i in found], dtype)
    static = None
    if masks:
        positions, counts = _joined([(m.positions, i) for m, i in masks], np.dtype(np.uint16))
        static = StaticMasks(
            offsets=_starts(counts),
            positions=positions,
            ids=_joined([(m.ids, i) for m, i in masks], dtype)[0],
            sop_swapped=np.array([m.sop_swapped[i] for m, i in masks], np.bool_),
        )
    return Columns(
        ids=ids,
        word_start=_joined_bits([(batch.word_start, i) for batch, i in found]),
        offsets=_starts(lengths),
        split=np.array([batch.split[i] for batch, i in found], np.uint16),
        source_file=np.array([batch.source_file[i] for batch, i in found], np.uint32),
        source_row=np.array([batch.source_row[i] for batch, i in found], np.uint64),
        static=static,
    )


def _starts(lengths: list[int]) -> I64:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _joined(rows: list[tuple[_Lists, int]], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], list[int]]:
    """Return the values of rows, one behind the other, and how many each has."""
    parts = [lists.values[lists.offsets[i] : lists.offsets[i + 1]] for lists, i in rows]
    return np.concatenate(parts) if parts else np.empty(0, dtype), [len(part) for part in parts]


def _joined_bits(rows: list[tuple[_Lists, int]]) -> npt.NDArray[np.bool_]:
    """Return the bits of rows, one behind the other: all bytes are unpacked in one go, then cut to what belongs to the rows."""
    if not rows:
        return np.empty(0, np.bool_)
    borders = [(int(lists.offsets[i]), int(lists.offsets[i + 1])) for lists, i in rows]
    touched = [lists.values[begin >> 3 : (end + 7) >> 3] for (lists, _), (begin, end) in zip(rows, borders, strict=True)]
    bits = np.unpackbits(np.concatenate(touched), bitorder="little").view(np.bool_)
    parts, place = [], 0
    for (begin, end), bytes_of_row in zip(borders, touched, strict=True):
        first = place + (begin & 7)
        parts.append(bits[first : first + end - begin])
        place += 8 * len(bytes_of_row)
    return np.concatenate(parts)


def _lists(array: pa.Array, dtype: np.dtype[Any] | None) -> _Lists:
    """View a list column's buffers; `dtype` None means bits. Arrays read from a file start at offset 0 of their buffers."""
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1)
    return _Lists(offsets=offsets, values=np.frombuffer(array.values.buffers()[1], np.uint8 if dtype is None else dtype))
