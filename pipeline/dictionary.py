"""jieba's dictionary and its most probable path, for all runs of a block at once, to the last bit.

jieba looks every substring of a run up in a hash map and takes, from the right, the path of greatest summed log frequency. Here
the same is done for all runs together:

1. `_PrefixTable` maps (prefix, next character) to the longer prefix: a hash table in numpy with exact keys. All positions of a
   block are looked up at once, those that are still a prefix once more, and so on; each step yields the words of one length.
2. The path is found step by step from the right ends of the runs: step *k* handles the character *k* places before the end of
   every run that has one. Longest run first, these are the first so and so many runs: a few operations on arrays.

The sums are jieba's: float64, ``log(frequency) - log(total) + rest`` from the left, the longer word at a tie. So near ties come
out as they do in jieba. Characters are code points U+4E00..U+9FD5; entries of the dictionary that hold others cannot match in
a run of those, but count towards the total.

Cost: about 60 ns a character, and 45 MB of tables built in a third of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.han_runs import SPACE
from shards.errors import FormatError

FIRST_HAN, LAST_HAN = 0x4E00, 0x9FD5
# Longer runs hardly occur in prose, and a step for a few of them costs as much as a step for thousands.
_LONG_RUN = 96
_PACKED = 4  # characters that fit one 64-bit key
_DENSE = 4  # word lengths of which every position has a weight; longer words are rare enough for lists

Codes = NDArray[np.uint16]
Indices = NDArray[np.int64]
Weights = NDArray[np.float64]


class Dictionary:
    """Words and frequencies in jieba's format (``word frequency tag`` a line).

    `added`: frequencies of a user's words, instead of or beside those of the file; `total`: the sum of all frequencies then.
    """

    def __init__(self, path: Path, *, added: Mapping[str, int] | None = None, total: int | None = None) -> None:
        data = path.read_bytes()
        fields = data.decode("utf-8").split()
        rows = data.count(b"\n") + (not data.endswith(b"\n"))
        if len(fields) != 3 * rows:
            raise FormatError("not a jieba dictionary", where=path, expected="'word frequency tag' in every row")
        # As jieba: the last of two equal words counts, the total counts both.
        counts = list(map(int, fields[1::3]))
        log_total = log(sum(counts) if total is None else total)
        frequency_of = dict(zip(fields[0::3], counts, strict=True))
        frequency_of.update(added or {})
        code, lengths, frequencies = _han_words(frequency_of)
        # By Python's own logarithm: numpy's may differ in the last bit.
        logs = {frequency: log(frequency) - log_total for frequency in set(frequencies)}
        weights = np.fromiter(map(logs.__getitem__, frequencies), np.float64, len(frequencies))

        self._single = np.full(1 << 16, log(1) - log_total)
        self._is_unknown = np.zeros(1 << 16, np.bool_)
        self._is_unknown[FIRST_HAN : LAST_HAN + 1] = True
        begins = np.cumsum(lengths) - lengths
        alone = code[begins[lengths == 1]]
        self._single[alone], self._is_unknown[alone] = weights[lengths == 1], False
        # What `_find_words` begins with at each character: its weight as a word, and no longer word.
        self._rows = np.full((1 << 16, _DENSE), -np.inf)
        self._rows[:, 0] = self._single
        self._levels = _build_levels(code, begins, lengths, weights)

        # Words that the best path may cut into single characters, because those are together as likely; a superset by a hair.
        together = np.add.reduceat(self._single[code], begins)
        divisible = (lengths > 1) & (together >= weights - 1e-6)
        if lengths[divisible].max(initial=0) > _PACKED:
            raise FormatError(
                f"a word of more than {_PACKED} characters is less likely than its characters", where=path,
                hint="Give the long words of the user dictionary a higher frequency, or none; or choose --segmenter jieba",
            )  # fmt: skip
        self._words_of_singles = np.sort(_pack(code, begins[divisible], lengths[divisible]))
        self._longest_of_singles = int(lengths[divisible].max(initial=0))

    def is_word_of_singles(self, code: Codes, begins: Indices, lengths: Indices) -> NDArray[np.bool_]:
        """Return which stretches of `code`, each cut by the best path into single characters, are as a whole a word."""
        answer = np.zeros(len(begins), np.bool_)
        short = np.flatnonzero(lengths <= self._longest_of_singles)
        keys = _pack(code, begins[short], lengths[short])
        near = np.searchsorted(self._words_of_singles, keys)
        answer[short] = self._words_of_singles.take(near, mode="clip") == keys
        return answer

    def word_starts(self, code: Codes, begins: Indices, ends: Indices) -> NDArray[np.bool_]:
        """Return which characters begin a word of the best path.

        `code` holds runs of U+4E00..U+9FD5, run *i* in ``code[begins[i] : ends[i]]``, in order and at least one other character
        apart. One flag a character of `code`, false outside the runs.
        """
        flags = np.zeros(len(code), np.bool_)
        if not len(begins):
            return flags
        words = self._find_words(code)
        long = ends - begins > _LONG_RUN
        for begin, end in zip(begins[long].tolist(), ends[long].tolist(), strict=True):
            _mark_long_run(flags, begin, end, words)
        if not long.all():
            _mark_runs(flags, begins[~long], ends[~long], words)
        return flags

    def _find_words(self, code: Codes) -> _Words:
        short = self._rows.take(code, axis=0)
        long: list[tuple[int, Indices, Weights]] = []
        padded = np.append(code, np.uint16(SPACE))  # a prefix is looked up with the character after it
        at: Indices = np.arange(0)
        slots: Indices = np.arange(0)
        for length, level in enumerate(self._levels, start=2):
            if length == 2:
                at, slots = level.find((_first_part(code) << level.shift) | padded[1:])
            else:
                found, slots = level.find((slots.astype(np.uint64) << level.shift) | padded.take(at + (length - 1)))
                at = at.take(found)
            weights = level.weights.take(slots)
            if length <= _DENSE:
                short[:, length - 1][at] = weights
            else:
                word = weights > -np.inf
                long.append((length, at[word], weights[word]))
            onward = np.flatnonzero(level.goes_on.take(slots))
            at, slots = at.take(onward), slots.take(onward)
            if not len(at):
                break
        # jieba's quirk: a character that is no word itself stands alone only where nothing longer begins.
        unknown = np.flatnonzero(self._is_unknown.take(code))
        longer = np.zeros(len(code), np.bool_)
        for _, at, _ in long:
            longer[at] = True
        goes_on = longer.take(unknown)
        for n in range(1, _DENSE):
            goes_on |= short[unknown, n] > -np.inf
        short[unknown[goes_on], 0] = -np.inf
        return _Words(short, long)


class _Words(NamedTuple):
    """The words that begin at each of N positions.

    short: float64[N, 4], weights of those of 1 to 4 characters, -inf where there is none; long: (length, positions, weights) of
    the others, positions ascending.
    """

    short: Weights
    long: list[tuple[int, Indices, Weights]]


class _PrefixTable:
    """One level of the trie, a hash table with linear probing: (prefix << 16 | character) -> slot.

    The prefix is a character on the first level (32-bit keys) and the slot of the shorter prefix on the others (64-bit keys).
    `weights[slot]`: weight of the word that ends there, or -inf. `goes_on[slot]`: longer words begin so.
    """

    def __init__(self, keys: NDArray[np.unsignedinteger[Any]]) -> None:
        width = keys.dtype.itemsize * 8
        bits = max(4, int(len(keys) * 4 - 1).bit_length())
        self.shift = keys.dtype.type(16)
        self._factor = keys.dtype.type(0x9E3779B97F4A7C15 >> (64 - width) | 1)
        self._drop, self._mask = keys.dtype.type(width - bits), np.int64((1 << bits) - 1)
        self._keys = np.zeros(1 << bits, keys.dtype)  # no key is 0: a character is at least U+4E00
        # Set in an entry: a key whose place this would be lies further on. Most keys that are not there end here.
        self._moved = keys.dtype.type(1 << (width - 1))
        self.weights = np.full(1 << bits, -np.inf)
        self.goes_on = np.zeros(1 << bits, np.bool_)
        moved = [np.zeros(0, np.int64)]
        first = slots = self._first_slots(keys)
        while len(keys):
            free = self._keys[slots] == 0
            self._keys[slots[free]] = keys[free]
            lost = self._keys[slots] != keys
            keys, first, slots = keys[lost], first[lost], (slots[lost] + 1) & self._mask
            moved.append(first)
        self._keys[np.concatenate(moved)] |= self._moved

    def _first_slots(self, keys: NDArray[np.unsignedinteger[Any]]) -> Indices:
        slots: Indices = ((keys * self._factor) >> self._drop).astype(np.int64)
        return slots

    def find(self, keys: NDArray[np.unsignedinteger[Any]]) -> tuple[Indices, Indices]:
        """Return which keys are in the table (their indices), and their slots."""
        slots = self._first_slots(keys)
        present = self._keys.take(slots)
        hit = (present & ~self._moved) == keys
        pending = np.flatnonzero(hit < (present >= self._moved))
        while len(pending):
            probe = (slots[pending] + 1) & self._mask
            slots[pending] = probe
            present = self._keys.take(probe)
            good = (present & ~self._moved) == keys[pending]
            hit[pending[good]] = True
            pending = pending[good < (present != 0)]
        found = np.flatnonzero(hit)
        return found, slots[found]


def _han_words(frequency_of: Mapping[str, int]) -> tuple[Codes, Indices, list[int]]:
    """Return the characters, lengths and frequencies of the words that can stand in a run, in order."""
    code = np.frombuffer("".join(frequency_of).encode("utf-32-le"), np.uint32)
    lengths = np.fromiter(map(len, frequency_of), np.int64, len(frequency_of))
    kept = np.fromiter((frequency > 0 for frequency in frequency_of.values()), np.bool_, len(frequency_of))
    kept &= np.logical_and.reduceat((code >= FIRST_HAN) & (code <= LAST_HAN), np.cumsum(lengths) - lengths)
    return code[np.repeat(kept, lengths)].astype(np.uint16), lengths[kept], list(compress(frequency_of.values(), kept))


def _first_part(code: Codes) -> NDArray[np.uint32]:
    """Return the prefixes of one character as numbers from 1 on, of 15 bits where a character is Han."""
    return (code - np.uint16(FIRST_HAN - 1)).astype(np.uint32)


def _pack(code: Codes, begins: Indices, lengths: Indices) -> NDArray[np.uint64]:
    """Return stretches of two to four characters as one number each."""
    sixteen = np.uint64(16)
    keys: NDArray[np.uint64] = (code[begins].astype(np.uint64) << sixteen) | code[begins + 1]
    for i in range(2, int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > i)
        keys[longer] = (keys[longer] << sixteen) | code[begins[longer] + i]
    return keys


def _build_levels(code: Codes, begins: Indices, lengths: Indices, weights: Weights) -> list[_PrefixTable]:
    levels: list[_PrefixTable] = []
    words = np.flatnonzero(lengths >= 2)
    prefix: NDArray[np.unsignedinteger[Any]] = _first_part(code[begins[words]])
    length = 2
    while len(words):
        keys = (prefix << prefix.dtype.type(16)) | code[begins[words] + length - 1]
        level = _PrefixTable(np.unique(keys))
        slots = level.find(keys)[1]
        complete = lengths[words] == length
        level.weights[slots[complete]] = weights[words[complete]]
        level.goes_on[slots[~complete]] = True
        levels.append(level)
        words, prefix = words[~complete], slots[~complete].astype(np.uint64)
        length += 1
    return levels


def _mark_runs(flags: NDArray[np.bool_], begins: Indices, ends: Indices, words: _Words) -> None:
    order = np.argsort((begins - ends).astype(np.int16), kind="stable")  # 16 bits: numpy then sorts by radix
    last = ends.take(order) - 1
    lengths = last + 1 - begins.take(order)
    longest = int(lengths[0])
    counts = len(lengths) - np.searchsorted(lengths[::-1], np.arange(1, longest + 1), side="left")
    # The characters of all runs in the order in which the steps come to them: those of step k from offsets[k] on.
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))

    long: list[tuple[int, Indices, Weights, Indices]] = []
    for length, at, weights in words.long:
        run = np.searchsorted(begins, at, side="right") - 1
        inside = (run >= 0) & (at < ends.take(run))  # not in one of the long runs
        at, weights, run = at[inside], weights[inside], run[inside]
        place = offsets[ends[run] - 1 - at] + rank[run]
        by_place = np.argsort(place, kind="stable")
        place = place[by_place]
        long.append((length, place, weights[by_place], np.searchsorted(place, offsets)))

    steps = np.zeros(len(flags) + 1, np.uint8)  # how long the best path's word is at a position; 0 after a run
    routes: list[Weights] = [np.zeros(len(order))]
    for k, count in enumerate(counts.tolist()):
        here = last[:count] - k
        weights_here = words.short.take(here, axis=0)
        best = weights_here[:, 0] + routes[k][:count]
        best_length = np.ones(count, np.uint8)
        # Lengths ascend, so the greatest of those that were the better one is the last of them.
        for length in range(2, min(_DENSE, k + 1) + 1):
            other = weights_here[:, length - 1] + routes[k + 1 - length][:count]
            np.maximum(best_length, (other >= best).view(np.uint8) * np.uint8(length), out=best_length)
            np.maximum(best, other, out=best)
        for length, place, weights, bounds in long:
            low, high = bounds[k], bounds[k + 1]
            if low < high:
                column = place[low:high] - offsets[k]
                other = weights[low:high] + routes[k + 1 - length][column]
                better = other >= best[column]
                best[column[better]] = other[better]
                best_length[column[better]] = length
        steps[here] = best_length
        routes.append(best)

    here = begins
    while len(here):
        flags[here] = True
        here = here + steps.take(here)
        here = here[steps.take(here) > 0]


def _mark_long_run(flags: NDArray[np.bool_], begin: int, end: int, words: _Words) -> None:
    found = [[(n, w) for n, w in enumerate(row, start=1) if w > -np.inf] for row in words.short[begin:end].tolist()]
    for length, at, weights in words.long:
        low, high = np.searchsorted(at, (begin, end))
        for position, weight in zip(at[low:high].tolist(), weights[low:high].tolist(), strict=True):
            found[position - begin].append((length, weight))
    size = end - begin
    route = [0.0] * (size + 1)
    step = [1] * size
    for i in range(size - 1, -1, -1):
        route[i], step[i] = max((weight + route[i + length], length) for length, weight in found[i])
    i = 0
    while i < size:
        flags[begin + i] = True
        i += step[i]
