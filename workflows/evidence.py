"""What a report is made from: the results of the steps, and the files they committed, read from disk and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.canonical import read_json_object
from shards.manifest import MANIFEST_NAME, Manifest
from workflows.errors import ReportError
from workflows.state import RUN, State, content_fingerprint

METRICS, SCORE = "metrics.jsonl", "score.json"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A finished run: its record, its checkpoint's fingerprint, its log lines and its evaluations in order of steps.

    Each evaluation is the object of the log, with its `step` added.
    """

    folder: Path
    record: Mapping[str, Any]
    fingerprint: str
    steps: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a report shows.

    `commands`: name and record of each step; `scores`: score rows, each with the note of its step; `samples`, `fillings`:
    figures of such commands.
    """

    commands: Sequence[tuple[str, Mapping[str, Any]]]
    data_sets: Sequence[tuple[Path, Manifest]]
    samples: Sequence[Mapping[str, Any]]
    trainings: Sequence[Training]
    scores: Sequence[tuple[Mapping[str, Any], str]]
    fillings: Sequence[Mapping[str, Any]]


def gather(state: State, names: Sequence[str]) -> Evidence:
    """Read what the finished steps `names` left. Raises FormatError, NotFoundError, ReportError naming the file at fault."""
    commands = [(name, done) for name in names if (done := state.done(name)) is not None]
    data_sets: list[tuple[Path, Manifest]] = []
    trainings: list[Training] = []
    scores: list[tuple[Mapping[str, Any], str]] = []
    for _, done in commands:
        for path in map(state.resolve, done["outputs"]):
            if (path / MANIFEST_NAME).is_file():
                data_sets.append((path, Manifest.read(path)))
            elif (path / RUN).is_file():
                trainings.append(_training(path))
            elif path.name == SCORE:
                scores.append((read_json_object(path), done["note"]))

    def figures_of(module: str) -> list[Mapping[str, Any]]:
        reports = [done["report"] for _, done in commands if done["identity"]["module"] == module]
        return [{**report.get("figures", {}), "fingerprint": report.get("fingerprint")} for report in reports]

    return Evidence(
        commands=commands,
        data_sets=data_sets,
        samples=[sample for figures in figures_of("pipeline.inspect") for sample in figures.get("samples", [])],
        trainings=trainings,
        scores=scores,
        fillings=figures_of("pretrain.fill_mask"),
    )


def _training(folder: Path) -> Training:
    record = read_json_object(folder / RUN)
    found = record.get("checkpoint_fingerprint")
    if not isinstance(found, str):
        raise ReportError("a finished run does not name its checkpoint", where=folder / RUN, got=found)
    if content_fingerprint(folder) != f"checkpoint:{found}":
        raise ReportError("the newest checkpoint is not the one the run finished with", where=folder, expected=found)
    records = _metrics(folder / METRICS)
    evaluations = [{"step": r["step"], **r["eval"]} for r in records if isinstance(r.get("eval"), dict)]
    return Training(
        folder=folder,
        record=record,
        fingerprint=found,
        steps=[r for r in records if "lm_loss" in r],
        evaluations=evaluations,
    )


def _metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of a finished run's log. It came to its end, so every line has to be whole."""
    records: list[dict[str, Any]] = []
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise ReportError("not a log record", where=f"{path}:{number}", expected="a JSON object with a step", got=line[:60])
        records.append(record)
    return records
