"""One shard, memory-mapped: rows at any position, without reading the rest.

The columns of a record batch lie in the file as plain buffers. Token ids are numpy views of the map; word starts are bits,
unpacked row by row. Nothing is copied but the rows that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    is_bits: bool

    def row(self, i: int) -> npt.NDArray[Any]:
        begin, end = int(self.offsets[i]), int(self.offsets[i + 1])
        if not self.is_bits:
            return self.values[begin:end]
        first = begin >> 3
        bits = np.unpackbits(self.values[first : (end + 7) >> 3], bitorder="little")
        return bits[begin - (first << 3) : end - (first << 3)].view(np.bool_)


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
        found = [(self._batch(row // BATCH_ROWS), row % BATCH_ROWS) for row in rows.tolist()]
        ids = [batch.ids.row(i) for batch, i in found]
        offsets = _offsets(ids)
        masks = [(batch.static, i) for batch, i in found if batch.static is not None]
        static = None
        if self.static:
            positions = [m.positions.row(i) for m, i in masks]
            static = StaticMasks(
                offsets=_offsets(positions),
                positions=_joined(positions, np.dtype(np.uint16)),
                ids=_joined([m.ids.row(i) for m, i in masks], self.id_dtype),
                sop_swapped=np.array([m.sop_swapped[i] for m, i in masks], np.bool_),
            )
        return Columns(
            ids=_joined(ids, self.id_dtype),
            word_start=_joined([batch.word_start.row(i) for batch, i in found], np.dtype(np.bool_)),
            offsets=offsets,
            split=np.array([batch.split[i] for batch, i in found], np.uint16),
            source_file=np.array([batch.source_file[i] for batch, i in found], np.uint32),
            source_row=np.array([batch.source_row[i] for batch, i in found], np.uint64),
            static=static,
        )

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


def _offsets(parts: list[npt.NDArray[Any]]) -> I64:
    return np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)


def _joined(parts: list[npt.NDArray[Any]], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _lists(array: pa.Array, dtype: np.dtype[Any] | None) -> _Lists:
    """View a list column's buffers; `dtype` None means bits. Arrays read from a file start at offset 0 of their buffers."""
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1)
    data = array.values.buffers()[1]
    return _Lists(offsets=offsets, values=np.frombuffer(data, np.uint8 if dtype is None else dtype), is_bits=dtype is None)
