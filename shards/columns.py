"""Samples as columns: the arrays that a shard holds, and the Arrow schema they are stored under.

Legend: N samples, T tokens of all of them, one after another; sample i is the slice ``offsets[i]:offsets[i + 1]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards.errors import FormatError

Ids: TypeAlias = npt.NDArray[Any]  # uint16 or uint32, by the size of the vocabulary
IdType: TypeAlias = np.dtype[Any]

BATCH_ROWS = 1024
MAX_UINT16_VOCAB = 65_535
_METADATA = {b"wordloom_format": b"1"}


@dataclass(frozen=True, kw_only=True)
class StaticMasks:
    """Masks fixed at build time: P masked tokens of N samples; ``offsets`` (N + 1) delimits each sample's.

    positions: uint16[P], indexes into the sample's ids in natural order; ids: what stands there instead (uint16 or uint32[P]);
    sop_swapped: bool[N].
    """

    offsets: npt.NDArray[np.int64]
    positions: npt.NDArray[np.uint16]
    ids: Ids
    sop_swapped: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """N samples of T tokens; see `shards.manifest` and DESIGN's table for what the columns mean.

    ids: uint16 or uint32[T]; word_start: bool[T]; offsets: int64[N + 1]; split: uint16[N], tokens in segment A, 0 = no pair;
    source_file: uint32[N], index into the manifest's corpus list; source_row: uint64[N], 1-based.
    """

    ids: Ids
    word_start: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    split: npt.NDArray[np.uint16]
    source_file: npt.NDArray[np.uint32]
    source_row: npt.NDArray[np.uint64]
    static: StaticMasks | None = None

    def __len__(self) -> int:
        return len(self.split)


def id_dtype(vocab_size: int) -> IdType:
    """Return the integer type that token ids of a vocabulary are stored in."""
    return np.dtype(np.uint16) if vocab_size <= MAX_UINT16_VOCAB else np.dtype(np.uint32)


def schema_for(dtype: IdType, *, static: bool) -> pa.Schema:
    """Return the one schema that a shard with these ids may have; nothing in it is nullable."""
    id_type = pa.from_numpy_dtype(dtype)

    def column(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    def list_of(kind: pa.DataType) -> pa.DataType:
        return pa.list_(column("item", kind))

    fields = [
        column("input_ids", list_of(id_type)),
        column("word_start", list_of(pa.bool_())),
        column("split", pa.uint16()),
        column("source", pa.struct([column("file", pa.uint32()), column("row", pa.uint64())])),
    ]
    if static:
        fields += [
            column("mask_positions", list_of(pa.uint16())),
            column("mask_ids", list_of(id_type)),
            column("sop_swapped", pa.bool_()),
        ]
    return pa.schema(fields, metadata=_METADATA)


_KNOWN_SCHEMAS = tuple(
    (schema_for(np.dtype(kind), static=static), np.dtype(kind), static)
    for kind in (np.uint16, np.uint32)
    for static in (False, True)
)


def match_schema(schema: pa.Schema, where: object) -> tuple[IdType, bool]:
    """Return (type of the ids, has static masks) of a shard's schema.

    Raises FormatError for any schema that is not exactly one of ours, before a value of the file is looked at: unknown
    columns and extension types can make a reader run code.
    """
    for known, dtype, static in _KNOWN_SCHEMAS:
        if schema.equals(known, check_metadata=True):
            return dtype, static
    names = [n if len(n) < 40 else n[:37] + "…" for n in schema.names[:12]]
    raise FormatError("columns are not those of a shard", where=where, expected=_KNOWN_SCHEMAS[0][0].names, got=names)
