"""Read training logs: the line format of PaddleNLP's pretraining scripts and ours, or the records of metrics.jsonl.

Other text may stand between the lines. A line that begins like a log line and does not end like one is counted as bad, never
guessed at. A log is read line by line; what is kept is one small record a line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from shards.errors import FormatError, NotFoundError

_LINE = re.compile(r"global step (\d{1,15}), (.+)$")
_STAMP = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})\]")
_MAX_LINE_BYTES = 1 << 16
# Names as printed → ours. The dynamic-graph scripts of PaddleNLP call the scaler's counters incr_count and decr_count.
_NAMES = {
    "loss": "loss", "lm_loss": "lm_loss", "sop_loss": "sop_loss", "speed": "steps_per_s", "ips": "samples_per_s",
    "learning rate": "lr", "learning_rate": "lr", "lr": "lr", "loss_scaling": "loss_scaling", "num_good_steps": "num_good_steps",
    "incr_count": "num_good_steps", "num_bad_steps": "num_bad_steps", "decr_count": "num_bad_steps",
    "tokens_per_s": "tokens_per_s", "steps_per_s": "steps_per_s", "samples_per_s": "samples_per_s", "mfu": "mfu",
}  # fmt: skip
_LOSSES = ("loss", "lm_loss", "sop_loss")
_COUNTERS = ("num_good_steps", "num_bad_steps")
_LARGEST = 1e30
_FLOAT32_ROUNDING = 1.2e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedStep:
    """One line of a log; None stands for what it does not say.

    lr_error: how far the true rate may be from the printed one: half a unit of the last digit, and float32's rounding.
    """

    line: int
    step: int
    loss: float
    lm_loss: float | None = None
    sop_loss: float | None = None
    lr: float | None = None
    lr_error: float = 0.0
    loss_scaling: float | None = None
    num_good_steps: int | None = None
    num_bad_steps: int | None = None
    steps_per_s: float | None = None
    steps_per_s_error: float = 0.0
    samples_per_s: float | None = None
    samples_per_s_error: float = 0.0
    tokens_per_s: float | None = None
    mfu: float | None = None
    time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Log:
    """What a log holds: its steps in the order of the file, and how many lines were bad, evaluations, or something else."""

    steps: tuple[LoggedStep, ...]
    lines: int
    bad_lines: tuple[int, ...]
    evaluations: int


def read_log(path: Path) -> Log:
    """Read a log. Raises NotFoundError, or FormatError when it holds no line of the format."""
    if not path.is_file():
        raise NotFoundError("no such log", where=path, expected="a file: a training log, or a run's metrics.jsonl")
    steps: list[LoggedStep] = []
    bad: list[int] = []
    lines = evaluations = 0
    for lines, text in _lines(path):
        if text.lstrip().startswith("{"):
            record = _json_object(text)
            if record is not None and "eval" in record:
                evaluations += 1
                continue
            found = None if record is None else _from_values(lines, record.get("step"), record, {}, None)
        elif "global step" in text:
            found = _from_text(lines, text)
        else:
            continue
        if found is None:
            bad.append(lines)
        else:
            steps.append(found)
    if not steps:
        raise FormatError(
            "holds no line of a training log", where=path, expected="lines with 'global step N, loss: …', or metrics.jsonl",
            got=f"{lines} lines, {len(bad)} of them damaged",
        )  # fmt: skip
    return Log(steps=tuple(steps), lines=lines, bad_lines=tuple(bad), evaluations=evaluations)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, text) of each line; of one that is longer than any log line, only the beginning."""
    with path.open("rb") as file:
        number = 0
        while data := file.readline(_MAX_LINE_BYTES):
            number += 1
            rest = data
            while not rest.endswith(b"\n") and (rest := file.readline(_MAX_LINE_BYTES)):
                pass
            yield number, data.decode("utf-8", errors="replace").rstrip()


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _from_text(line: int, text: str) -> LoggedStep | None:
    found = _LINE.search(text)
    if found is None:
        return None
    values: dict[str, Any] = {}
    errors: dict[str, float] = {}
    for field in found[2].split(","):
        name, colon, value = field.strip().partition(": ")
        words = value.split()
        if not colon or not words:
            return None  # the line was cut off, or another one runs into it
        if (ours := _NAMES.get(name)) is None:
            continue
        try:
            number = Decimal(words[0].removesuffix("%")).scaleb(-2 * words[0].endswith("%"))
        except InvalidOperation:
            return None
        values[ours] = int(number) if ours in _COUNTERS and number.is_finite() else float(number)
        errors[ours] = _half_unit(number)
    stamp = _STAMP.search(text)
    try:
        time = datetime.strptime(f"{stamp[1]}.{stamp[2]}", "%Y-%m-%d %H:%M:%S.%f") if stamp else None
    except ValueError:
        return None
    return _from_values(line, int(found[1]), values, errors, time)


def _half_unit(number: Decimal) -> float:
    exponent = number.as_tuple().exponent
    return 0.5 * 10.0**exponent if isinstance(exponent, int) and exponent > -300 else 0.0


def _from_values(
    line: int, step: object, values: dict[str, Any], errors: dict[str, float], time: datetime | None
) -> LoggedStep | None:
    """Return the record of a line, None when it has no step, no loss, or a value that none can have. Losses may be NaN."""
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 10**15:
        return None
    known: dict[str, Any] = {}
    for name in set(_NAMES.values()) & set(values):
        value = values[name]
        if value is None and name in _LOSSES:
            value = math.nan  # as JSON has it
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if name not in _LOSSES and not 0 <= value < _LARGEST:
            return None
        if name in _COUNTERS and not isinstance(value, int):
            return None
        known[name] = value if name in _COUNTERS else float(value)
    if "loss" not in known:
        return None
    if "lr" in known:
        known["lr_error"] = errors.get("lr", 0.0) + _FLOAT32_ROUNDING * known["lr"]
    for name in ("steps_per_s", "samples_per_s"):
        known[f"{name}_error"] = errors.get(name, 1e-9 * known.get(name, 0.0))
    return LoggedStep(line=line, step=step, time=time, **known)
