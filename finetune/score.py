"""Score rows: what several seeds gave, what they were given, committed as one file.

    results/<task>/<run>-<fingerprint8>/score.json      one checkpoint, one task, one set of settings
    results/<task>/<run>-<fingerprint8>/model/          the first seed's model after its last step

The headline figures are those after the *last* step: choosing the best evaluation chooses on the very rows that are scored,
and the best of several seeds is better than any of them should be expected to be. Both are in the row, beside mean and spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards import __version__
from shards.canonical import fingerprint, pretty_json, read_json_object
from shards.durable import commit_bytes
from shards.errors import FormatError, NotFoundError

SCORE = "score.json"
# What makes two rows the same row: the same of all these is overwritten, anything else gets a folder of its own.
_IDENTITY = ("task", "checkpoint_fingerprint", "data_fingerprint", "settings", "seeds")


@dataclass(frozen=True, kw_only=True)
class SeedScore:
    """What one seed gave: the metrics after the last step, and those of its best evaluation (by the task's first metric)."""

    seed: int
    steps: int
    last: Mapping[str, float]
    best_dev: Mapping[str, float]
    best_dev_step: int
    train_loss: float

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "steps": self.steps,
            "last": dict(self.last),
            "best_dev": dict(self.best_dev),
            "best_dev_step": self.best_dev_step,
            "train_loss": self.train_loss,
        }


def score_row(
    scores: Sequence[SeedScore],
    *,
    task: str,
    primary: str,
    model: str,
    checkpoint_fingerprint: str,
    data_fingerprint: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of one or more seeds.

    `metrics` and `mean` are the mean over the seeds after the last step, `median` their median, `sd` their sample standard
    deviation (null for one seed, which has none); `best` is the best evaluation of any seed by `primary`, with its seed and
    step; `runs` holds every seed's own figures.
    """
    values = {name: [score.last[name] for score in scores] for name in scores[0].last}
    mean = {name: statistics.fmean(seen) for name, seen in values.items()}
    top = max(scores, key=lambda score: score.best_dev[primary])
    return {
        "task": task,
        "metrics": mean,
        "seeds": [score.seed for score in scores],
        "mean": mean,
        "sd": {name: statistics.stdev(seen) if len(seen) > 1 else None for name, seen in values.items()},
        "median": {name: statistics.median(seen) for name, seen in values.items()},
        "best": {**top.best_dev, "seed": top.seed, "step": top.best_dev_step},
        "runs": [score.to_json() for score in scores],
        "model": model,
        "checkpoint_fingerprint": checkpoint_fingerprint,
        "data_fingerprint": data_fingerprint,
        "settings": dict(settings),
        "version": __version__,
    }


def row_folder(out: Path, row: Mapping[str, Any]) -> Path:
    """Return the folder of a row below `out`: the plain name, or with a suffix when another row lives there."""
    plain = out / str(row["task"]) / f"{row['model']}-{row['checkpoint_fingerprint'][:8]}"
    identity = {name: row[name] for name in _IDENTITY}
    try:
        there = read_json_object(plain / SCORE)
    except NotFoundError:
        return plain
    except FormatError:  # damaged: kept for whoever wants to know, and not mistaken for this row
        there = {}
    if {name: there.get(name) for name in _IDENTITY} == identity:
        return plain
    return plain.with_name(f"{plain.name}-{fingerprint(identity)[:8]}")


def commit_row(folder: Path, row: Mapping[str, Any]) -> Path:
    """Commit a row as the folder's score.json; an older one is replaced whole. Raises StorageError."""
    commit_bytes(folder / SCORE, pretty_json(row))
    return folder / SCORE


def summary(row: Mapping[str, Any]) -> list[str]:
    """Return the lines a person reads at the end: mean ± spread, median, and the best labelled as what it is."""
    count = len(row["seeds"])
    lines = []
    for name, mean in row["mean"].items():
        sd = row["sd"][name]
        spread = f" ± {sd:.4f}" if sd is not None else ""
        lines.append(
            f"{row['task']} {name}: {mean:.4f}{spread} (last step, {count} seed{'s' if count > 1 else ': no spread known'}"
            + (f", median {row['median'][name]:.4f}" if count > 1 else "")
            + f"; best evaluation {row['best'][name]:.4f}, seed {row['best']['seed']}, step {row['best']['step']})"
        )
    return lines
