"""The most memory that a process has had resident is its own, not that of whoever started it."""

import subprocess
import sys

import numpy as np

from shards.peak_memory import peak_resident_bytes
from tests.helpers.commands import ROOT

PRINT = "from shards.peak_memory import peak_resident_bytes; print(peak_resident_bytes())"


def test_what_the_parent_held_does_not_count() -> None:
    held = np.ones(400 << 20, np.uint8)
    assert peak_resident_bytes() > len(held)
    child = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1 << 20 < int(child.stdout) < 300 << 20


def test_what_was_given_back_counts() -> None:
    held = np.ones(300 << 20, np.uint8)
    size = held.nbytes
    del held
    assert peak_resident_bytes() > size
