"""Score rows: what several seeds gave, what they were given, committed as one file.

    results/<task>/<start>-<fingerprint8>/score.json      one start, one task, one set of settings
    results/<task>/<start>-<fingerprint8>/model/          the weights of the best evaluation of any seed
    results/<task>/grid-<identity8>.json                  settings that were compared, and which did best

The headline figures (`metrics`, `mean`, `sd`, `median`) are those after the *last* step: choosing the best evaluation chooses on
the very rows that are scored, and the best of several seeds is better than any of them should be expected to be. Both are in
the row, beside mean and spread. Early stopping has no use for the last step: rows made with ``--patience`` have the best
evaluations as headline, and their `selection` says that these were chosen on dev.
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
_IDENTITY = ("task", "weights", "checkpoint_fingerprint", "data_fingerprint", "settings", "seeds")


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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SeedScore:
        """Return the score that `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        metrics = {name: {str(k): float(v) for k, v in value[name].items()} for name in ("last", "best_dev")}
        if not metrics["last"] or set(metrics["last"]) != set(metrics["best_dev"]):
            raise ValueError(f"metrics {sorted(metrics['last'])} and {sorted(metrics['best_dev'])}")
        return cls(
            seed=int(value["seed"]), steps=int(value["steps"]), best_dev_step=int(value["best_dev_step"]),
            train_loss=float(value["train_loss"]), last=metrics["last"], best_dev=metrics["best_dev"],
        )  # fmt: skip


LAST_STEP = "none: figures after the last step"
ON_DEV = "on dev: figures of each seed's best evaluation (early stopping)"


def score_row(
    scores: Sequence[SeedScore],
    *,
    task: str,
    primary: str,
    model: str,
    weights: str,
    checkpoint_fingerprint: str,
    data_fingerprint: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of one or more seeds.

    `metrics` and `mean` are the mean over the seeds, `median` their median, `sd` their sample standard deviation (null for one
    seed, which has none), all after the last step, or at each seed's best evaluation where training could stop early
    (`selection`); `best` is the best evaluation of any seed by `primary`, with its seed and step; `runs` holds every seed's own
    figures. `weights` tells what training started from: "pretrained", "fine-tuned" or "random".
    """
    stops_early = settings.get("patience") is not None
    figures = [score.best_dev if stops_early else score.last for score in scores]
    values = {name: [figure[name] for figure in figures] for name in figures[0]}
    mean = {name: statistics.fmean(seen) for name, seen in values.items()}
    top = best_of(scores, primary)
    return {
        "task": task,
        "metrics": mean,
        "primary": primary,
        "selection": ON_DEV if stops_early else LAST_STEP,
        "seeds": [score.seed for score in scores],
        "mean": mean,
        "sd": {name: statistics.stdev(seen) if len(seen) > 1 else None for name, seen in values.items()},
        "median": {name: statistics.median(seen) for name, seen in values.items()},
        "best": {**top.best_dev, "seed": top.seed, "step": top.best_dev_step},
        "runs": [score.to_json() for score in scores],
        "model": model,
        "weights": weights,
        "checkpoint_fingerprint": checkpoint_fingerprint,
        "data_fingerprint": data_fingerprint,
        "settings": dict(settings),
        "version": __version__,
    }


def best_of(scores: Sequence[SeedScore], primary: str) -> SeedScore:
    """Return the seed with the best evaluation, the first of equals."""
    return max(scores, key=lambda score: score.best_dev[primary])


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
    count, when = len(row["seeds"]), "last step" if row["selection"] == LAST_STEP else "best evaluations, chosen on dev"
    lines = []
    for name, mean in row["mean"].items():
        sd = row["sd"][name]
        spread = f" ± {sd:.4f}" if sd is not None else ""
        lines.append(
            f"{row['task']} {name}: {mean:.4f}{spread} ({when}, {count} seed{'s' if count > 1 else ': no spread known'}"
            + (f", median {row['median'][name]:.4f}" if count > 1 else "")
            + f"; best evaluation {row['best'][name]:.4f}, seed {row['best']['seed']}, step {row['best']['step']})"
        )
    return lines
