"""Sections of a run: stretches of steps that read the same data. Most runs have one; stages with data of their own make more.

Each section has an order, epochs and an odometer of its own; positions count from its first step. Sets are numbered through all
sections, as the run's record lists them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from pretrain.data_plan import chosen_sets
from pretrain.loader import Arrays, MicroBatches, sent
from pretrain.options import TrainConfig
from pretrain.stages import Stage, sections_of, sizes_of
from shards.batch_sizes import BatchSizes
from shards.collate import BatchPlan
from shards.errors import MismatchError, UsageError
from shards.locate import find_data_sets
from shards.reader import DataSet, Split
from shards.sampler import Drawing, Sampler


@dataclass(frozen=True, kw_only=True)
class Section:
    """Steps from ``sizes.first_step`` on, drawn from `train`."""

    train: Split
    sizes: BatchSizes
    drawing: Drawing


def open_sections(config: TrainConfig) -> list[tuple[BatchSizes, tuple[DataSet, ...]]]:
    """Find the data of every section. Raises what finding data sets raises, UsageError for samples longer than their stage."""
    if config.stages is None:
        return [(config.batch_sizes(), chosen_sets(find_data_sets(config.shards, verify=False), config))]
    sections = []
    for stages in sections_of(config.stage_list()):
        path = stages[0].shards
        found = find_data_sets(config.shards if path is None else path, verify=False)
        data_sets = chosen_sets(found, config) if path is None else tuple(found)
        for stage in stages:
            _require_length(stage, data_sets)
        sections.append((sizes_of(stages), data_sets))
    first = sections[0][1][0].manifest.tokenizer
    for _, data_sets in sections:
        if (other := data_sets[0].manifest.tokenizer).hash != first.hash:
            raise MismatchError(
                "stages read data of different tokenizers", where=data_sets[0].path, expected=first.hash, got=other.hash
            )
    return sections


def _require_length(stage: Stage, data_sets: Sequence[DataSet]) -> None:
    for data_set in data_sets:
        longest = longest_sample(data_set)
        if longest > stage.length:
            raise UsageError(
                f"the stage from step {stage.first_step} is shorter than the longest samples, and nothing is cut silently",
                where=f"data set {data_set.name!r}", expected=f"at most {stage.length} tokens", got=longest,
                hint=f"Build a set with --max-seq-len {stage.length} and name it: --stage-shards {stage.length}=PATH",
            )  # fmt: skip


def longest_sample(data_set: DataSet) -> int:
    """Return an upper bound of a set's lengths in tokens: by its histogram, else what it was built for."""
    bounds = [int(bound) for bound, count in data_set.manifest.length_histogram.items() if count > 0]
    return min(max(bounds, default=data_set.manifest.max_seq_len), data_set.manifest.max_seq_len)


class StagedBatches:
    """The micro-batches of one rank through all sections, numbered from 0; see `pretrain.loader.MicroBatches`."""

    def __init__(self, parts: Sequence[MicroBatches]) -> None:
        self.parts = parts
        self._firsts = [part.sizes.first_step for part in parts]
        lengths = [a.first_number(b.sizes.first_step) for a, b in pairwise(parts)]
        self._numbers = [0, *accumulate(lengths)]
        self._sets = [0, *accumulate(len(part.sampler.split.data_sets) for part in parts)]

    @property
    def per_step(self) -> int:
        """Micro-batches of a step of the first stage."""
        return self.parts[0].per_step

    def section_of(self, step: int) -> int:
        """Return the number of the section that `step` is in, that of step 1 for step 0."""
        return max(bisect_right(self._firsts, step) - 1, 0)

    def sampler_of(self, step: int) -> Sampler:
        return self.parts[self.section_of(step)].sampler

    def own_sets(self, step: int, set_index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the numbers that the sets of a step's samples have within its section."""
        return set_index - self._sets[self.section_of(step)]

    def micro_batches_of(self, step: int) -> int:
        return self.parts[self.section_of(step)].micro_batches_of(step)

    def first_number(self, step: int) -> int:
        """Return the number of the first micro-batch of `step`."""
        section = self.section_of(step)
        return self._numbers[section] + self.parts[section].first_number(step)

    def __len__(self) -> int:
        return 2**62  # endless; paddle asks only to print

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        """Return micro-batch `number`, or the error met in making it, for `pretrain.loader.unpacked`."""
        return sent(self.make, number)

    def make(self, number: int) -> Arrays:
        """Return micro-batch `number`; sets are numbered through all sections."""
        section = bisect_right(self._numbers, number) - 1
        batch = self.parts[section].make(number - self._numbers[section])
        batch["set_index"] = batch["set_index"] + self._sets[section]
        return batch


def staged_batches(
    sections: Sequence[Section], plan: BatchPlan, *, micro_batch: int, rank: int, ranks: int, draws: bool = False
) -> StagedBatches:
    """Return the micro-batches of a rank."""
    return StagedBatches(
        [
            MicroBatches(
                section.train, plan, global_batch=section.sizes, micro_batch=micro_batch, rank=rank, ranks=ranks, draws=draws,
                drawing=section.drawing,
            )
            for section in sections
        ]
    )  # fmt: skip
