"""Runs of Han as the segmenters take them: code points, one space between two runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes

SPACE = 0x20

Flags = NDArray[np.bool_]
Runs = NDArray[np.uint16]


def han_runs(codes: Codes, han: Flags) -> tuple[Runs, Flags]:
    """Return the runs of the characters of `codes` marked in `han`, one space after each but the last, and which are Han."""
    kept = han.copy()
    kept[1:] |= han[:-1]
    inside = han[kept]
    return np.where(inside, codes[kept], SPACE).astype(np.uint16, copy=False), inside


def runs_of(text: str) -> Runs:
    """Return runs that are given as a string of characters of the basic plane, parted by single spaces."""
    return np.frombuffer(text.encode("utf-16-le"), np.uint16)


def text_of(runs: Runs) -> str:
    """Return runs as a string."""
    return runs.tobytes().decode("utf-16-le")
