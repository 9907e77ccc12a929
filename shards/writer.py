"""Columns → one Arrow IPC file, with equal bytes for equal content.

Record batches hold 1,024 rows and are built from fresh buffers (a slice of a larger array would carry its neighbours' bytes
into the padding), with no validity buffers, uncompressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards.columns import BATCH_ROWS, Columns, schema_for
from shards.durable import FileDigest, commit_stream


def write_shard(path: Path, columns: Columns, *, settled: bool = True) -> FileDigest:
    """Commit `columns` as a shard and return its digest; `settled`: see `shards.durable`. Raises StorageError."""
    schema = schema_for(columns.ids.dtype, static=columns.static is not None)
    with commit_stream(path, settled=settled) as file, pa.ipc.new_file(file, schema) as writer:
        for batch in _batches(columns, schema):
            writer.write_batch(batch)
    return file.digest


def _batches(columns: Columns, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(columns), BATCH_ROWS):
        rows = slice(first, min(first + BATCH_ROWS, len(columns)))
        offsets = columns.offsets[first : rows.stop + 1]
        arrays = [
            _lists(columns.ids, offsets, schema.field("input_ids").type),
            _lists(columns.word_start, offsets, schema.field("word_start").type),
            _flat(columns.split[rows]),
            pa.StructArray.from_arrays(
                [_flat(columns.source_file[rows]), _flat(columns.source_row[rows])], fields=list(schema.field("source").type)
            ),
        ]
        if (static := columns.static) is not None:
            offsets = static.offsets[first : rows.stop + 1]
            arrays += [
                _lists(static.positions, offsets, schema.field("mask_positions").type),
                _lists(static.ids, offsets, schema.field("mask_ids").type),
                _flat(static.sop_swapped[rows]),
            ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _flat(values: npt.NDArray[Any]) -> pa.Array:
    if values.dtype == np.bool_:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits.tobytes())])
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values.tobytes())])


def _lists(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    own = (offsets - offsets[0]).astype(np.int32)
    child = _flat(values[offsets[0] : offsets[-1]])
    return pa.Array.from_buffers(kind, len(own) - 1, [None, pa.py_buffer(own.tobytes())], children=[child])
