"""The kind of every code point, a small number, asked for at its first occurrence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, look_up

_UNSEEN = 255


class KindTable:
    """Remembers what `kind` says of each character; it may say 0 to 254."""

    def __init__(self, kind: Callable[[str], int]) -> None:
        self._kind, self._kinds = kind, np.full(0x110000, _UNSEEN, np.uint8)

    def of(self, codes: Codes) -> NDArray[np.uint8]:
        """Return the kind of each code point; the caller may change the array."""
        kinds = look_up(self._kinds, codes)
        unseen = kinds == _UNSEEN
        if unseen.any():
            for code in _present(codes[unseen]):
                self._kinds[code] = self._kind(chr(code))
            kinds = look_up(self._kinds, codes)
        return kinds


def _present(codes: Codes) -> list[int]:
    """Return the different code points, ascending: without sorting them, which takes long where most are equal."""
    flags = np.zeros(0x110000, np.bool_)
    flags[codes] = True
    found: list[int] = np.flatnonzero(flags).tolist()
    return found
