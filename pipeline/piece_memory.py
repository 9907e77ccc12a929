"""Strings of a text already tokenized, found again by their bytes; for each, its pieces in flat arrays.

Strings of up to sixteen bytes in UTF-8, nearly all of any text, are looked up as numbers (`pipeline.slot_table`), the others by
way of an Arrow dictionary. Both give a slot, and slots give pieces. New strings are tokenized together, a block's at a time.

Legend: W strings, P pieces of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.characters import chosen_strings, distinct_strings
from pipeline.growing import Growing
from pipeline.slot_table import ROOM, SlotTable

_MAX_SLOTS, _MAX_CHARACTERS = 1 << 20, 1 << 24

Indices = NDArray[np.int64]


class Learnt(NamedTuple):
    """Pieces of strings one after another: id of each piece, a number that goes with it, and the pieces of each string."""

    ids: Sequence[int] | NDArray[Any]
    marks: Sequence[int] | NDArray[Any]
    counts: Sequence[int]


class Scattered(NamedTuple):
    """Pieces of W strings one after another: `ids`, int32[P], and `counts` of each string, int64[W].

    `marks_of` gathers marks, since not every use needs those of all pieces: from `memory`, where piece *p* is ``source[p]``.
    """

    ids: NDArray[np.int32]
    counts: Indices
    memory: NDArray[np.int32]
    source: Indices

    def marks_of(self, pieces: Indices | slice) -> NDArray[np.int32]:
        """Return the marks of some of the P pieces."""
        return self.memory.take(self.source[pieces])


class PieceMemory:
    """Remembers what `tokenize` made of strings; none may be empty. Forgets everything when full."""

    def __init__(self, tokenize: Callable[[list[str]], Learnt]) -> None:
        self._tokenize = tokenize
        self._clear()

    def _clear(self) -> None:
        self._short = SlotTable(self._learn, ascii_only=False)
        self._slots: dict[str, int] = {}
        self._characters = 0
        self._ids, self._marks = Growing(np.int32), Growing(np.int32)
        self._begins, self._counts = Growing(np.int64), Growing(np.int64)

    @property
    def slots(self) -> int:
        """The number of strings it remembers."""
        return len(self._counts)

    def look_up(self, data: bytes, begins: Indices, ends: Indices) -> Scattered:
        """Return the pieces of the strings ``data[begins[i] : ends[i]]`` of UTF-8 text, ascending and apart."""
        if len(self._counts) > _MAX_SLOTS or self._characters > _MAX_CHARACTERS:
            self._clear()
        slots, long = self._short.look_up(np.frombuffer(data + bytes(ROOM), np.uint8), begins, ends - begins)
        if len(long):
            long.sort()
            slots[long] = self._long_slots(data, begins[long], ends[long])
        counts, first = self._counts.values.take(slots), self._begins.values.take(slots)
        total = int(counts.sum())
        if total == len(counts) and (counts == 1).all():
            source = first
        else:
            source = np.arange(total)
            source += np.repeat(first - (np.cumsum(counts) - counts), counts)
        return Scattered(ids=self._ids.values.take(source), counts=counts, memory=self._marks.values, source=source)

    def _long_slots(self, data: bytes, begins: Indices, ends: Indices) -> Indices:
        bounds = np.stack([begins, ends], axis=1).ravel().astype(np.int32)  # strings, and what lies between two
        pieces = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
        distinct, index = distinct_strings(chosen_strings(pieces, np.arange(0, len(bounds), 2)))
        known = self._slots
        new = [word for word in distinct if word not in known]
        if new:
            known.update(zip(new, self._learn(new).tolist(), strict=True))
        slots = np.array([known[word] for word in distinct], np.int64)
        found: Indices = slots[index]
        return found

    def _learn(self, strings: list[str]) -> Indices:
        """Return new slots, with the pieces of different strings."""
        first, at = len(self._counts), len(self._ids)
        learnt = self._tokenize(strings)
        counts = np.array(learnt.counts, np.int64)
        self._begins.extend(at + np.cumsum(counts) - counts)
        self._counts.extend(counts)
        self._ids.extend(learnt.ids)
        self._marks.extend(learnt.marks)
        self._characters += sum(map(len, strings))
        return np.arange(first, first + len(strings))
