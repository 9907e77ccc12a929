"""Which samples a step trains on: a pure function of (data, options, step), in O(1) memory and seek.

1. Without a mixture, all sets form one source; with one, each set is a source of its own and `shards.mixture` says which source
   each position of the endless order takes from.
2. A source is an endless sequence of epochs over its units, in a keyed order (`shards.order`). A unit is a sample, or with
   packing a row of several (`shards.packing`).
3. Step s takes the positions [start(s), start(s) + G). With bins, the positions of 16 steps are sorted by the length of their
   units first, cut into batches, and the batches put in a keyed order; windows begin anew at each stage of batch sizes.
4. Samples to be left out are taken out of their units last, so that nothing else moves.

Ranks, micro-batches and loader processes take slices of a step's units, and decide nothing.

Legend: G units of a step, U units, S samples of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards.batch_sizes import WINDOW_STEPS, BatchSizes
from shards.counter import Purpose, fold
from shards.errors import UsageError
from shards.mixture import Mixture
from shards.order import Permutation, SampleOrder
from shards.packing import Packing
from shards.reader import Split, starts

I64 = npt.NDArray[np.int64]
_CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are drawn, beside the data and the sizes of batches.

    mix: weight by name of the set, in the order of the split's sets; edges: upper bounds of the bins in tokens, none: no bins;
    block: samples that are read as neighbours (None: all in random order); packings: one a source, or none;
    skipped: rows of the split to leave out, ascending.
    """

    seed: int
    mix: Mapping[str, float] | None = None
    edges: tuple[int, ...] = ()
    block: int | None = None
    packings: Sequence[Packing] = ()
    skipped: I64 | None = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """S samples: `rows` of the split, each seen for the `epochs`-th time; unit u holds offsets[u] ≤ i < offsets[u + 1].

    Units that lost all of their samples to the list of skipped ones are not there any more.
    """

    rows: I64
    epochs: I64
    offsets: I64


@dataclass(frozen=True, kw_only=True)
class Source:
    """Sets that are drawn from as one: rows [first, first + count) of the split, in `units` samples or packed rows."""

    sets: tuple[int, ...]
    first: int
    count: int
    units: int
    seed: int
    order: SampleOrder
    packing: Packing | None


def source_sets(split: Split, mix: Mapping[str, float] | None) -> list[tuple[int, ...]]:
    """Return the sets of each source: all in one, or one in each when they are mixed."""
    numbers = range(len(split.data_sets))
    return [tuple(numbers)] if mix is None else [(i,) for i in numbers]


def source_rows(split: Split, sets: Sequence[int]) -> tuple[int, int]:
    """Return (first row, rows) of neighbouring sets."""
    return split.first_row(sets[0]), sum(len(split.data_sets[i].split(split.name)) for i in sets)


def plan_packings(split: Split, mix: Mapping[str, float] | None, capacity: int) -> list[Packing]:
    """Plan the rows of each source; reads the length of every sample. `capacity` in tokens."""
    packings = []
    for sets in source_sets(split, mix):
        first, count = source_rows(split, sets)
        lengths = [split.lengths(np.arange(at, min(at + _CHUNK, first + count))) for at in range(first, first + count, _CHUNK)]
        packings.append(Packing.plan(np.concatenate(lengths), capacity))
    return packings


class Sampler:
    """See the module docstring. Raises UsageError for options that cannot go together."""

    def __init__(self, split: Split, sizes: BatchSizes, drawing: Drawing) -> None:
        self.split, self.sizes, self.drawing = split, sizes, drawing
        if drawing.packings and drawing.block is not None:
            raise UsageError("packed rows hold samples from everywhere: they cannot be read in blocks")
        if drawing.mix is not None and list(drawing.mix) != [s.name for s in split.data_sets]:
            raise UsageError(
                "the mixture does not name the data sets", expected=[s.name for s in split.data_sets], got=list(drawing.mix)
            )
        self._mixture = Mixture(drawing.mix, drawing.seed) if drawing.mix is not None else None
        self.sources = [self._source(number, sets) for number, sets in enumerate(source_sets(split, drawing.mix))]
        self._edges = np.array(drawing.edges, np.int64)
        self._window: tuple[int, I64] | None = None

    def _source(self, number: int, sets: tuple[int, ...]) -> Source:
        drawing, split = self.drawing, self.split
        first, count = source_rows(split, sets)
        seed = drawing.seed
        if self._mixture is not None:
            seed = fold(seed, Purpose.MIX, int(split.data_sets[sets[0]].manifest.tag, 16))
        packing = drawing.packings[number] if drawing.packings else None
        units = count if packing is None else packing.rows
        order = SampleOrder(units, seed, block=drawing.block)
        return Source(sets=sets, first=first, count=count, units=units, seed=seed, order=order, packing=packing)

    def draw(self, step: int, first: int = 0, end: int | None = None) -> Drawn:
        """Return the units [first, end) of a step, in order."""
        end = self.sizes.batch_size(step) if end is None else end
        if len(self._edges):
            return self._drawn(self._binned(step)[first:end])
        return self._drawn(self.sizes.start(step) + np.arange(first, end, dtype=np.int64))

    def settled(self, step: int) -> int:
        """Return the position up to which all were taken by the end of `step`: with bins, that of the last whole window."""
        if not len(self._edges):
            return self.sizes.start(step + 1)
        begin, end = self._window_of(step)
        return self.sizes.start(end if step == end - 1 else begin)

    def own_positions(self, position: int) -> list[int]:
        """Return how many units each source has given before `position`."""
        return [position] if self._mixture is None else self._mixture.own_positions(position).tolist()

    def unfinished(self, step: int, part: int = 0, parts: int = 1) -> Iterator[Drawn]:
        """Yield what steps up to `step` took from epochs that were not over by then; one of `parts` shares of it."""
        if step < self.sizes.first_step:
            return
        settled = self.settled(step)
        for source, own in zip(self.sources, self.own_positions(settled), strict=True):
            begin = own // source.units * source.units
            begin, end = (begin + (own - begin) * share // parts for share in (part, part + 1))
            for at in range(begin, end, _CHUNK):
                epochs, units = source.order.at(np.arange(at, min(at + _CHUNK, end), dtype=np.int64))
                yield self._kept(*self._expanded(source, epochs, units))
        if part == 0 and settled < self.sizes.start(step + 1):
            for earlier in range(self._window_of(step)[0], step + 1):
                yield self.draw(earlier)

    def _drawn(self, positions: I64) -> Drawn:
        if self._mixture is None:
            source = self.sources[0]
            return self._kept(*self._expanded(source, *source.order.at(positions)))
        which, own = self._mixture.at(positions)
        parts, places = [], []
        for number in np.unique(which).tolist():
            source, here = self.sources[number], np.flatnonzero(which == number)
            parts.append(self._expanded(source, *source.order.at(own[here])))
            places.append(here)
        rows, epochs = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        counts = np.concatenate([np.diff(part[2]) for part in parts])
        begins = np.cumsum(counts) - counts
        place = np.argsort(np.concatenate(places))  # unit of the joined parts that stands at each position
        offsets = starts(counts[place])
        index = np.repeat(begins[place] - offsets[:-1], counts[place]) + np.arange(len(rows))
        return self._kept(rows[index], epochs[index], offsets)

    def _expanded(self, source: Source, epochs: I64, units: I64) -> tuple[I64, I64, I64]:
        """Return (rows, epochs, offsets) of the samples of units."""
        if source.packing is None:
            return units + source.first, epochs, np.arange(len(units) + 1, dtype=np.int64)
        samples, offsets = source.packing.expand(epochs, units, source.seed)
        return samples + source.first, np.repeat(epochs, np.diff(offsets)), offsets

    def _kept(self, rows: I64, epochs: I64, offsets: I64) -> Drawn:
        skipped = self.drawing.skipped
        if skipped is None or not len(skipped):
            return Drawn(rows=rows, epochs=epochs, offsets=offsets)
        kept = skipped[np.minimum(np.searchsorted(skipped, rows), len(skipped) - 1)] != rows
        counts = np.add.reduceat(kept.astype(np.int64), offsets[:-1]) if len(rows) else np.empty(0, np.int64)
        return Drawn(rows=rows[kept], epochs=epochs[kept], offsets=starts(counts[counts > 0]))

    def _window_of(self, step: int) -> tuple[int, int]:
        """Return (first step, step behind the last) of the window that `step` is in."""
        stage = self.sizes.stage_of(step)
        first = self.sizes.stages[stage][0]
        begin = first + (step - first) // WINDOW_STEPS * WINDOW_STEPS
        end = begin + WINDOW_STEPS
        if stage + 1 < len(self.sizes.stages):
            end = min(end, self.sizes.stages[stage + 1][0])
        return begin, end

    def _binned(self, step: int) -> I64:
        """Return the positions that a step takes, in order."""
        begin, end = self._window_of(step)
        if self._window is None or self._window[0] != begin:
            positions = np.arange(self.sizes.start(begin), self.sizes.start(end), dtype=np.int64)
            bins = np.searchsorted(self._edges, self._unit_lengths(positions))
            batches = positions[np.argsort(bins, kind="stable")].reshape(end - begin, -1)
            order = Permutation(end - begin, fold(self.drawing.seed, Purpose.WINDOW, begin))
            self._window = begin, batches[order.at(np.arange(end - begin, dtype=np.int64))]
        batch: I64 = self._window[1][step - begin]
        return batch

    def _unit_lengths(self, positions: I64) -> I64:
        which, own = self._mixture.at(positions) if self._mixture is not None else (np.zeros_like(positions), positions)
        lengths = np.empty_like(positions)
        for number, source in enumerate(self.sources):
            here = which == number
            _, units = source.order.at(own[here])
            lengths[here] = self.split.lengths(units + source.first) if source.packing is None else source.packing.tokens(units)
        return lengths
