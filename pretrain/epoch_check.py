"""Proof that an epoch read every sample once: sums of consumed sample ids against those recorded with the data.

Each rank adds the samples that its micro-batches really held, by (epoch, data set). When the last position of an epoch has been
consumed, the sums of all ranks together must be those of the manifests, without the samples that are to be left out. In a
mixture each set has epochs of its own; with bins an epoch is known to be over at the end of the window that holds its last
position. A sample lost, doubled or taken from elsewhere, by a loader, a resume or a changed number of ranks, ends the run.

At resume the sums of the epochs under way are made again from the order itself, each rank its share, and must be those that the
checkpoint recorded of the samples that training really had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pretrain.distributed import World
from shards.errors import IntegrityError
from shards.odometer import combine, odometer_sum, to_hex
from shards.sampler import Sampler

I64 = npt.NDArray[np.int64]


class EpochCheck:
    """Running sums of the epochs that are not over after `step`; `start`: what a checkpoint of that step recorded of them.

    All ranks construct it together. Raises IntegrityError when the record is not what the order says.
    """

    def __init__(self, sampler: Sampler, world: World, *, step: int = 0, start: Sequence[str] = ()) -> None:
        self.sampler, self._world, split = sampler, world, sampler.split
        self._names = [s.name for s in split.data_sets]
        skipped = [0] * len(self._names)
        if sampler.drawing.skipped is not None:
            sets, ids = split.identify(sampler.drawing.skipped)
            skipped = [odometer_sum(ids[sets == i]) for i in range(len(self._names))]
        # The modulus takes care of the sign.
        self._expected = [combine((split.odometer(s), -out)) for s, out in zip(split.data_sets, skipped, strict=True)]
        self._sums: dict[int, list[int]] = {}
        for drawn in sampler.unfinished(step, world.rank, world.size):
            sets, ids = split.identify(drawn.rows)
            self.add(drawn.epochs, sets, ids.view(np.int64))
        if start:
            self._require(tuple(start), step)

    def _require(self, recorded: tuple[str, ...], step: int) -> None:
        made = self.so_far()
        for name, expected, got in zip(self._names, made, recorded, strict=True):
            if expected != got:
                raise IntegrityError(
                    f"the samples of data set {name!r} consumed so far are not those of its order",
                    where=f"checkpoint of step {step}",
                    expected=f"sample sum {expected}", got=got,
                    hint="If --skip-samples was changed: it may name only samples that come after the checkpoint",
                )  # fmt: skip

    def add(self, epochs: I64, set_index: I64, sample_ids: I64) -> None:
        """Count the samples of one micro-batch."""
        keys = epochs * len(self._names) + set_index
        for key in np.unique(keys).tolist():
            epoch, index = divmod(key, len(self._names))
            sums = self._sums.setdefault(epoch, [0] * len(self._names))
            sums[index] = combine((sums[index], odometer_sum(sample_ids[keys == key].view(np.uint64))))

    def check(self, step: int) -> None:
        """Compare the epochs that ended with `step`. Raises IntegrityError.

        A collective operation when there are such epochs; all ranks call it, after each step.
        """
        sampler = self.sampler
        before = sampler.own_positions(sampler.settled(step - 1) if step > sampler.sizes.first_step else 0)
        after = sampler.own_positions(sampler.settled(step))
        for source, own_before, own_after in zip(sampler.sources, before, after, strict=True):
            for epoch in range(own_before // source.units, own_after // source.units):
                self._check_epoch(epoch, source.sets)

    def _check_epoch(self, epoch: int, sets: tuple[int, ...]) -> None:
        sums = self._sums.get(epoch, [0] * len(self._names))
        found = self._world.sum_modulo_2_128([sums[i] for i in sets])
        for i, got in zip(sets, found, strict=True):
            if self._expected[i] != got:
                raise IntegrityError(
                    f"epoch {epoch} did not read every sample exactly once", where=f"data set {self._names[i]!r}",
                    expected=f"sample sum {to_hex(self._expected[i])}", got=to_hex(got),
                )  # fmt: skip
            sums[i] = 0  # not among those under way any more
        if not any(sums):
            self._sums.pop(epoch, None)

    def so_far(self) -> tuple[str, ...]:
        """Return per set the sums over all ranks of the epochs under way, for a checkpoint. A collective operation."""
        totals = [combine(sums[i] for sums in self._sums.values()) for i in range(len(self._names))]
        return tuple(to_hex(total) for total in self._world.sum_modulo_2_128(totals))
