"""Which lines of a document any cleaning rule may touch, told before a rule runs. A guess of yes is allowed, a wrong no is not.

A short text is searched by one pattern. A long one is looked up as an array of code points, so that the few lines that need
work are found without looking at the others one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.characters import look_up

_LONG_CHARACTERS = 2000  # from here on the array calls, a few microseconds, cost less than what they save
_GIANT_CHARACTERS = 1 << 22  # from here on the arrays would take more memory than a look at every line takes time
_CODE_POINTS, _BASIC_PLANE = 0x110000, 0x10000
_LINE_FEED, _SPACE = 0x0A, 0x20


class LookAhead:
    """touched: a pattern of one character that rules may touch anywhere; beginnings: characters they may touch where a line
    begins; doubled: texts of two equal characters; whole: lines that they may take out, as they are.

    White space at the ends of a line counts as touched.
    """

    def __init__(self, touched: re.Pattern[str], beginnings: str, doubled: Collection[str], whole: Collection[str]) -> None:
        self._pattern, self._beginnings, self._doubled = touched, frozenset(beginnings + " "), tuple(doubled)
        self._whole = frozenset(whole)
        self._line_beginning = re.compile(f"\n[{re.escape(''.join(sorted(self._beginnings)))}]")
        self._longest = max(map(len, whole), default=0)
        # Beyond the basic plane all is called touched: characters there are rare, and asking for a million of them takes time.
        self._is_touched = np.ones(_CODE_POINTS, np.bool_)
        self._is_touched[:_BASIC_PLANE] = False
        for run in re.finditer(f"(?:{touched.pattern})+", "".join(map(chr, range(_BASIC_PLANE)))):
            self._is_touched[run.start() : run.end()] = True
        self._is_beginning = np.zeros(_CODE_POINTS, np.bool_)
        self._is_beginning[[ord(character) for character in self._beginnings]] = True

    def lines(self, text: str) -> list[int]:
        """Return the numbers of the lines of `text` that a rule may change, ascending."""
        if len(text) >= _GIANT_CHARACTERS:
            return list(range(text.count("\n") + 1))
        if len(text) >= _LONG_CHARACTERS:
            return self._lines_of_long(text)
        lines = text.split("\n")
        if not self._is_suspect(text) and self._whole.isdisjoint(lines):
            return []
        return [number for number, line in enumerate(lines) if self._may_change(line)]

    def _is_suspect(self, text: str) -> bool:
        # Spelled out rather than looped over: this runs for every short document.
        for pair in self._doubled:
            if pair in text:
                return True
        return (
            text[:1] in self._beginnings
            or text[-1:] == " "
            or " \n" in text
            or self._line_beginning.search(text) is not None
            or self._pattern.search(text) is not None
        )

    def _may_change(self, line: str) -> bool:
        return (
            self._pattern.search(line) is not None
            or line[:1] in self._beginnings
            or line[-1:] == " "
            or any(pair in line for pair in self._doubled)
            or line in self._whole
        )

    def _is_doubled(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = codes == ord(self._doubled[0][0])
        for pair in self._doubled[1:]:
            found |= codes == ord(pair[0])
        return found

    def _lines_of_long(self, text: str) -> list[int]:
        codes = _code_units(text)
        ends = np.append(np.flatnonzero(codes == _LINE_FEED), len(codes))
        begins = np.concatenate([[0], ends[:-1] + 1])
        touched = look_up(self._is_touched.view(np.uint8), codes).view(np.bool_)  # nonzero searches these ten times faster
        found = set(np.searchsorted(ends, np.flatnonzero(touched)).tolist())
        twice = codes[1:] == codes[:-1]
        twice &= self._is_doubled(codes[1:])
        found.update(np.searchsorted(ends, np.flatnonzero(twice)).tolist())
        first = codes[np.minimum(begins, len(codes) - 1)]
        found.update(np.flatnonzero(self._is_beginning.take(first) | (codes[ends - 1] == _SPACE)).tolist())
        lengths = ends - begins
        for number in np.flatnonzero(lengths <= self._longest).tolist():
            if text[begins[number] : ends[number]] in self._whole:
                found.add(number)
        return sorted(found)


def _code_units(text: str) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Return the code points of a text that may hold lone surrogates, as narrow as they fit."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
    return codes if len(codes) == len(text) else np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
