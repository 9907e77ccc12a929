"""Commands run and timed; inputs of a wanted size made from real text; figures with their bars."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table: what was measured, what it should reach, what it is, and whether that is enough (None: no bar)."""

    name: str
    bar: str
    value: str
    reached: bool | None


def environment() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9"}


def command(module: str, *arguments: str, cwd: Path) -> dict[str, Any]:
    """Run a command of the project with --json; return its object, and the seconds of the whole process as ``process_s``."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--json"], cwd=cwd, env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"process_s": time.perf_counter() - begun}


def peer(name: str, vocab: Path, files: Sequence[Path]) -> float:
    """Return the MB/s of a peer over files; see `tests.benchmarks.peers`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.peers", name, str(vocab), *map(str, files)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, size = done.stdout.split()
    return float(size) / 1e6 / float(seconds)


def replicated(files: Sequence[Path], folder: Path, min_bytes: int) -> Path:
    """Return a folder that holds copies of `files` of `min_bytes` or a little more, each copy a file of another name."""
    folder.mkdir(parents=True)
    size = copy = 0
    while size < min_bytes:
        for file in files:
            data = file.read_bytes()
            (folder / f"{copy:03d}-{file.name}").write_bytes(data)
            size += len(data)
            if size >= min_bytes:
                break
        copy += 1
    return folder


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Return a median with the least and the greatest value."""
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
