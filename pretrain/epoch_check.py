"""Proof that an epoch read every sample once: sums of consumed sample ids against those recorded with the data.

Each rank adds the samples that its micro-batches really held, by (epoch, data set). When the last position of an epoch has been
consumed, the sums of all ranks together must be those of the manifests. A sample lost, doubled or taken from elsewhere, by a
loader, a resume or a changed number of ranks, ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pretrain.distributed import World
from shards.errors import IntegrityError
from shards.odometer import combine, odometer_sum, to_hex
from shards.reader import Split

I64 = npt.NDArray[np.int64]


class EpochCheck:
    """Running sums of the current epoch; `start` are the sums over all ranks at `position`, as a checkpoint recorded them."""

    def __init__(self, split: Split, world: World, *, position: int = 0, start: Sequence[str] = ()) -> None:
        self._world, self._rows = world, len(split)
        self._names = [s.name for s in split.data_sets]
        self._recorded = [split.odometer(s) for s in split.data_sets]
        self._sums: dict[int, list[int]] = {}
        if start and world.is_first:
            self._sums[position // self._rows] = [int(text, 16) for text in start]

    def add(self, epochs: I64, set_index: I64, sample_ids: I64) -> None:
        """Count the samples of one micro-batch."""
        keys = epochs * len(self._names) + set_index
        for key in np.unique(keys).tolist():
            epoch, index = divmod(key, len(self._names))
            sums = self._sums.setdefault(epoch, [0] * len(self._names))
            sums[index] = combine((sums[index], odometer_sum(sample_ids[keys == key].view(np.uint64))))

    def check(self, before: int, after: int) -> None:
        """Compare the epochs that ended between two positions of the endless order. Raises IntegrityError.

        A collective operation when there are such epochs; all ranks call it with the same positions.
        """
        for epoch in range(before // self._rows, after // self._rows):
            found = self._world.sum_modulo_2_128(self._sums.pop(epoch, [0] * len(self._names)))
            for name, expected, got in zip(self._names, self._recorded, found, strict=True):
                if expected != got:
                    raise IntegrityError(
                        f"epoch {epoch} did not read every sample exactly once", where=f"data set {name!r}",
                        expected=f"sample sum {to_hex(expected)}", got=to_hex(got),
                    )  # fmt: skip

    def so_far(self, position: int) -> tuple[str, ...]:
        """Return the sums over all ranks of the epoch at `position`, for a checkpoint. A collective operation."""
        sums = self._sums.get(position // self._rows, [0] * len(self._names))
        return tuple(to_hex(total) for total in self._world.sum_modulo_2_128(sums))
