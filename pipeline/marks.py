"""Marks that end sentences and marks that close what ends with them, found in a text as arrays.

A text is a block of lines parted by ``\\n``; places are indexes of its code points. Runs are maximal stretches of enders and
closers, so a line's end is a run's end too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, Indices, look_up

CLOSERS = "\"'”’」』）】》〉〗〕］｝)]}"
OPENERS = "\"'“‘「『（【《〈([{¿¡"
_BMP = 1 << 16


class CharacterTable:
    """Small numbers for some characters of the basic plane, 0 for all others."""

    def __init__(self, groups: dict[int, str]) -> None:
        self._table = np.zeros(_BMP, np.uint8)
        for number, characters in groups.items():
            self._table[[ord(character) for character in characters]] = number

    def of(self, codes: Codes) -> NDArray[np.uint8]:
        """Return the number of each code point."""
        if codes.dtype.itemsize > 2:
            codes = np.minimum(codes, _BMP - 1).astype(np.uint16)  # U+FFFF is no character
        return look_up(self._table, codes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """The marks of a text, M of them, and the R runs they form.

    place: int64[M]; kind: uint8[M], the number in the table; first, last: int64[R], indexes into the marks.
    """

    place: Indices
    kind: NDArray[np.uint8]
    first: Indices
    last: Indices

    def run_of_mark(self) -> Indices:
        """Return for each mark the index of its run, int64[M]."""
        return np.repeat(np.arange(len(self.first)), self.last - self.first + 1)


def find_runs(kinds: NDArray[np.uint8]) -> Runs:
    """Return the marks (all places whose kind is not 0) and their runs."""
    place = np.flatnonzero(kinds)
    breaks = np.flatnonzero(np.diff(place) != 1)
    ends = np.append(breaks, len(place) - 1) if len(place) else breaks
    begins = np.concatenate([[0], breaks + 1]) if len(place) else breaks
    return Runs(place=place, kind=kinds[place], first=begins, last=ends)


def after(codes: Codes, places: Indices) -> Codes:
    """Return the code points at `places`; a line feed beyond the end."""
    inside = np.minimum(places, len(codes) - 1)
    found: Codes = np.where(places < len(codes), codes[inside], codes.dtype.type(0x0A))
    return found
