"""What `pretrain.verify_resume` compares: two runs of one training, of which one was killed and resumed.

The folder holds the runs ``whole`` and ``killed``, and what their ranks noted: ``whole-<rank>.jsonl``, and so on for ``killed``
and for ``resumed``, which went on with the killed one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.checkpoint import Checkpoint, newest_valid
from pretrain.errors import CheckpointError
from pretrain.log_line import MEASURED, read_metrics

_SCALER = ("scaler", "good_steps", "bad_steps")
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One line of the table: how many things of a kind were compared, how many differ, and the first that does."""

    what: str
    compared: int
    different: int
    first: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        return self.what, str(self.compared), str(self.different), self.first


def compare_runs(work: Path) -> list[Compared]:
    """Return what is the same in ``whole`` and ``killed`` where they ended, and what is not. Raises CheckpointError."""
    whole, killed = _last_checkpoint(work / "whole"), _last_checkpoint(work / "killed")
    return [
        *compare_checkpoints(whole, killed),
        *_compare_batches(work),
        _compare("log records", _records(work / "whole"), _records(work / "killed")),
    ]


def _last_checkpoint(run: Path) -> Checkpoint:
    found, damaged = newest_valid(run)
    if found is None or damaged:
        raise CheckpointError("the run did not end on a whole checkpoint", where=run)
    return found


def compare_checkpoints(one: Checkpoint, other: Checkpoint) -> list[Compared]:
    """Compare tensors bit by bit, and the JSON of the states."""
    moments = [{k: v for k, v in c.optimizer().items() if "::moment" in k} for c in (one, other)]
    powers = [{k: v for k, v in c.optimizer().items() if "::moment" not in k} for c in (one, other)]
    states = [c.state() for c in (one, other)]
    scalers = [{k: state[k] for k in _SCALER if k in state} for state in states]
    rest = [{k: v for k, v in state.items() if k not in _SCALER} for state in states]
    return [
        _compare("weights", one.model(), other.model()),
        _compare("moments", *moments),
        _compare("beta powers", *powers),
        _compare("scaler", *scalers),
        _compare("rest of the state", *rest),
    ]


def _compare(what: str, one: Mapping[Any, Any], other: Mapping[Any, Any]) -> Compared:
    names = sorted(set(one) | set(other), key=str)
    wrong = [name for name in names if name not in one or name not in other or not _same(one[name], other[name])]
    first = _difference(wrong[0], one.get(wrong[0]), other.get(wrong[0])) if wrong else ""
    return Compared(what=what, compared=len(names), different=len(wrong), first=first)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return bool(one == other)


def _difference(name: Any, one: Any, other: Any) -> str:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.shape == other.shape:
        return f"{name}: at most {float(np.abs(one.astype(np.float64) - other).max()):.3g} apart"
    return f"{name}: {_short(one)} and {_short(other)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _compare_batches(work: Path) -> Iterator[Compared]:
    """Compare samples and masks of every (rank, step): those before the kill and those after the resume with the whole run's."""
    whole = _noted(work, "whole")
    parts = [_noted(work, name) for name in ("killed", "resumed")]
    for what in ("samples", "masks"):
        expected = {key: entry[what] for key, entry in whole.items()}
        found: dict[tuple[int, int], Any] = {}
        for part in parts:  # steps done twice must have been right twice
            wrong = {key for key, entry in part.items() if entry[what] != expected.get(key)}
            found |= {key: entry[what] for key, entry in part.items() if key in wrong or key not in found}
        yield _compare(f"{what} of (rank, step)", expected, found)


def _noted(work: Path, name: str) -> dict[tuple[int, int], Mapping[str, Sequence[Any]]]:
    noted = {}
    for path in sorted(work.glob(f"{name}-*.jsonl")):
        rank = int(path.stem.rpartition("-")[2])
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            noted[rank, int(entry["step"])] = entry
    return noted


def _records(run: Path) -> dict[int, Any]:
    return {i: {k: v for k, v in record.items() if k not in MEASURED} for i, record in enumerate(read_metrics(run))}
