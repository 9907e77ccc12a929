"""Strings of a text already tokenized, found again by their bytes; for each, its pieces in flat arrays.

Strings of up to eight bytes in UTF-8, most of any text, are looked up as one number (`pipeline.key_table`), the others by way of
an Arrow dictionary. Both give a slot, and slots give pieces. New strings are tokenized together, a block's at a time.

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
from pipeline.key_table import KeyTable

_MAX_SLOTS, _MAX_CHARACTERS = 1 << 20, 1 << 24
_SHORT = 8  # bytes of a number
_FIRST_NEW = 1 << 14

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
        self._short = KeyTable()
        self._slot_of_short = np.zeros(0, np.int64)
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
        keys = _packed(data, begins, ends - begins)
        if (keys != 0).all():
            slots = self._short_slots(keys)
        else:
            short = np.flatnonzero(keys)
            slots = np.empty(len(begins), np.int64)
            slots[short] = self._short_slots(keys[short])
            long = np.flatnonzero(keys == 0)
            slots[long] = self._long_slots(data, begins[long], ends[long])
        counts, first = self._counts.values.take(slots), self._begins.values.take(slots)
        total = int(counts.sum())
        if total == len(counts) and (counts == 1).all():
            source = first
        else:
            source = np.arange(total)
            source += np.repeat(first - (np.cumsum(counts) - counts), counts)
        return Scattered(ids=self._ids.values.take(source), counts=counts, memory=self._marks.values, source=source)

    def _short_slots(self, keys: NDArray[np.uint64]) -> Indices:
        numbers = self._short.find(keys)
        missing = np.flatnonzero(numbers < 0)
        some = _FIRST_NEW
        while len(missing):
            # The most frequent are among the first few, and then no longer among what is to be sorted.
            new = np.unique(keys[missing[:some]])
            strings = [key.to_bytes(_SHORT, "little").rstrip(b"\0").decode() for key in new.tolist()]
            # Learnt before it is in the table: an error in between leaves the memory as it was.
            self._slot_of_short = np.concatenate([self._slot_of_short, self._learn(strings)])
            self._short.add(new)
            found = self._short.find(keys[missing])
            numbers[missing] = found
            missing = missing[found < 0]
            some *= 4
        return self._slot_of_short.take(numbers)

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


def _packed(data: bytes, begins: Indices, sizes: Indices) -> NDArray[np.uint64]:
    """Return each string of up to eight bytes as a number, uint64[W]; 0 for the others, and for those that end in NUL."""
    padded = np.frombuffer(data + bytes(_SHORT), np.uint8)
    # Every eight bytes, whatever they begin at, seen as a number: no copy, and one gather instead of eight.
    eights: NDArray[np.uint64] = np.ndarray(len(data) + 1, "<u8", padded, strides=(1,))
    keys: NDArray[np.uint64] = eights[begins]
    keys &= _MASKS.take(sizes, mode="clip")
    keys[sizes > _SHORT] = 0
    last = padded.take(begins + sizes - 1)
    if not last.all():  # its length could not be told from the number
        keys[last == 0] = 0
    return keys


_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(_SHORT + 1)], np.uint64)
