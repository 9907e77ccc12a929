"""Which line of which corpus file a sample begins at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.reader import DataSet

_ROW_BITS = 32


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample: its id, its data set's name, and ``file:row`` of its first sentence in the corpus (rows from 1)."""

    sample_id: int
    data_set: str
    source: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def name_samples(
    data_sets: Sequence[DataSet], set_index: npt.NDArray[np.int64], sample_ids: npt.NDArray[np.int64]
) -> list[Sample]:
    """Return where samples are from, in their order; `set_index` counts in `data_sets`. Raises what reading shards raises."""
    named: list[Sample] = []
    for index, sample_id in zip(set_index.tolist(), sample_ids.tolist(), strict=True):
        data_set = data_sets[index]
        named.append(Sample(sample_id=sample_id, data_set=data_set.name, source=source_of(data_set, sample_id)))
    return named


def source_of(data_set: DataSet, sample_id: int) -> str:
    """Return ``file:row`` of a sample's first sentence."""
    shard, row = sample_id >> _ROW_BITS, sample_id & ((1 << _ROW_BITS) - 1)
    columns = data_set.shard(shard).take(np.array([row], np.int64))
    return f"{data_set.manifest.corpus[int(columns.source_file[0])].path}:{int(columns.source_row[0])}"
