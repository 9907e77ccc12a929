"""Files of a run that hold one JSON object a line, each about a step: metrics, overflows, spikes, rollbacks.

Lines are appended as training goes. On resume a file is cut back to the checkpoint's step, so that each step is there once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.durable import append_line, commit_bytes, truncate

METRICS, OVERFLOWS, SPIKES, ROLLBACKS = "metrics.jsonl", "overflows.jsonl", "spikes.jsonl", "rollbacks.jsonl"


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record, which names its ``step``."""
    append_line(path, json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=False))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file; a last line that a killed process left half-written is passed over."""
    if not path.is_file():
        return []
    return [record for line in path.read_bytes().splitlines(keepends=True) if (record := _parse(line)) is not None]


def cut_records(path: Path, step: int) -> None:
    """Drop the records that come after `step`, and everything from the first line that cannot be read."""
    if not path.is_file():
        return
    whole, lines = path.read_bytes(), list[bytes]()
    for line in whole.splitlines(keepends=True):
        record = _parse(line)
        if record is None:
            break
        if record["step"] <= step:  # a probe's result comes late, behind records of later steps
            lines.append(line)
    kept = b"".join(lines)
    if whole.startswith(kept):
        truncate(path, len(kept))
    else:
        commit_bytes(path, kept)


def cut_all(run: Path, step: int) -> None:
    """Cut every file of records of a run back to `step`."""
    for name in (METRICS, OVERFLOWS, SPIKES, ROLLBACKS):
        cut_records(run / name, step)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None
