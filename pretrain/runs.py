"""List runs: ``python -m pretrain.runs``.

States are those of run.json; a running one whose process is gone is shown as stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from shards import cli

COMMAND = "pretrain.runs"
_COLUMNS = ("name", "state", "model", "step", "loss", "data", "updated")


def list_runs(out: Path) -> list[dict[str, Any]]:
    """Return one row for each run below `out`, the one that changed last first."""
    rows = [_row(path.parent) for path in out.glob("*/run.json")]
    return sorted(rows, key=lambda row: (row["updated"], row["name"]), reverse=True)


def _row(folder: Path) -> dict[str, Any]:
    from pretrain.budget import UNBOUNDED_STEPS
    from pretrain.checkpoint import list_checkpoints, step_of
    from pretrain.errors import RunStateError
    from pretrain.log_line import METRICS, read_metrics
    from pretrain.run_state import RUN, RUNNING, is_alive, read_run

    changed = max((folder / name).stat().st_mtime for name in (RUN, METRICS) if (folder / name).exists())
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    row |= {"name": folder.name, "updated": datetime.fromtimestamp(changed, timezone.utc).isoformat(timespec="seconds")}
    try:
        record = read_run(folder) or {}
    except RunStateError as error:
        return row | {"state": "unreadable", "error": str(error)}
    last: dict[str, Any] = next((r for r in reversed(read_metrics(folder)) if "loss" in r), {})
    max_steps = record.get("schedule", {}).get("max_steps")
    stopped = record.get("state") == RUNNING and is_alive(record) is False
    return row | {
        "state": "stopped" if stopped else record.get("state"),
        "model": record.get("model"),
        "step": max(last.get("step", 0), *(step_of(p) or 0 for p in list_checkpoints(folder)[:1]), 0),
        "max_steps": None if max_steps == UNBOUNDED_STEPS else max_steps,
        "loss": last.get("loss"),
        "data": ", ".join(str(d.get("name")) for d in record.get("data", [])),
        "error": record.get("error"),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    shown = dict(row)
    if row.get("max_steps"):
        shown["step"] = f"{row['step']}/{row['max_steps']}"
    if row.get("loss") is not None:
        shown["loss"] = f"{row['loss']:.4f}"
    return ["-" if shown[name] is None else str(shown[name]) for name in _COLUMNS]


def show(options: argparse.Namespace) -> cli.Outcome:
    out = Path(options.out)
    rows = list_runs(out)
    if not rows:
        print(f"no runs below {out}. Start one: python -m pretrain.run --shards shards/")
    else:
        table = [list(_COLUMNS), *(_cells(row) for row in rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(_COLUMNS))]
        for line in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return cli.Outcome(outputs=tuple(str(out / row["name"]) for row in rows), figures={"runs": rows})


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "List the runs of a folder, the one that changed last first.")
    parser.add_argument("--out", metavar="PATH", default="runs/", help="folder of runs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(COMMAND, build_parser(), show, argv)


if __name__ == "__main__":
    raise SystemExit(main())
