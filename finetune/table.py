"""``python -m finetune.table results/``: every score row beside the published ones, marked with what differs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.published_scores import Published

COMMAND = "finetune.table"
_HEADER = ("task", "metric", "model", "mean ± sd", "median", "best", "what to know")
_NUMBERS = slice(3, 6)  # columns that are set to the right


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Print the score rows of a folder beside published ones, each marked with what differs.")
    parser.add_argument("results", metavar="RESULTS", nargs="?", default="results/", help="folder of score rows")
    parser.add_argument("--task", metavar="LIST", default=argparse.SUPPRESS, help="only these tasks, with commas (default: all)")
    parser.add_argument("--markdown", action="store_true", help="print it as Markdown")
    parser.add_argument("--no-published", action="store_true", help="leave out the published rows")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.published_scores import PUBLISHED
    from shards.errors import NotFoundError, unknown_name

    root = Path(options.results)
    rows = _read(root)
    if not rows:
        raise NotFoundError("no score row here", where=root, hint="Make one: python -m finetune.glue --task SST-2")
    given = vars(options)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    if "task" in given:
        wanted = [name.strip().lower() for name in given["task"].split(",")]
        for name in wanted:
            if name not in (task.lower() for task in tasks):
                raise unknown_name("task with a score row", name, tasks)
        tasks = [task for task in tasks if task.lower() in wanted]
    lines: list[tuple[str, ...]] = []
    for task in tasks:
        lines += [line for row in rows if row["task"] == task for line in _lines(row)]
        if not options.no_published:
            beside = [p for p in PUBLISHED if p.task == task]
            lines += [(task, p.metric, p.model, "", *_placed(p), "; ".join(("published", *p.notes, p.source))) for p in beside]
    print("\n".join(_markdown(lines) if options.markdown else _aligned(lines)))
    print()
    print(
        "Percentages. mean ± sd and median over seeds, after the last step unless marked; best: the best evaluation of any seed,"
    )
    print("chosen on dev, as single published runs usually are. A mean compares with a mean, a best with a best.")
    chosen = [row for row in rows if row["task"] in tasks]
    return Outcome(
        outputs=(str(root),), figures={"rows": chosen, "lines": [dict(zip(_HEADER, line, strict=True)) for line in lines]}
    )


def _read(root: Path) -> list[dict[str, Any]]:
    """Return the score rows below a folder, those of one task together; what is damaged or too old is named and left out."""
    from finetune.score import SCORE
    from shards.canonical import read_json_object
    from shards.errors import NotFoundError, WordloomError

    if not root.is_dir():
        raise NotFoundError("no such folder", where=root, expected="a folder of score rows")
    best = _chosen(root)
    rows = []
    for path in sorted(root.glob(f"*/*/{SCORE}")):
        try:
            row = read_json_object(path)
            row["path"] = str(path.relative_to(root))
            row["chosen_on_dev"] = best.get(row["path"], 0)
            _lines(row)
            rows.append(row)
        except (WordloomError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            print(f"left out {path}: {error if isinstance(error, WordloomError) else f'not a row of this version ({error!r})'}")
    return sorted(rows, key=lambda row: (_order(row["task"]), row["weights"] == "random", row["path"]))


def _chosen(root: Path) -> dict[str, int]:
    """Return which rows are the best of a grid, and of how many settings."""
    from shards.canonical import read_json_object
    from shards.errors import WordloomError

    found: dict[str, int] = {}
    for path in sorted(root.glob("*/grid-*.json")):
        try:
            record = read_json_object(path)
            found[str(record["best"])] = len(record["rows"])
        except (WordloomError, KeyError, TypeError) as error:
            print(f"left out {path}: {error}")
    return found


def _order(task: str) -> tuple[int, str]:
    from finetune.published_scores import PUBLISHED

    known = list(dict.fromkeys(p.task for p in PUBLISHED))
    return (known.index(task), "") if task in known else (len(known), task)


def _lines(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one line for each metric of a row, the marks on the first."""
    lines: list[tuple[str, ...]] = []
    metrics = sorted(row["mean"], key=lambda name: name != row["primary"])
    for number, name in enumerate(metrics):
        sd = row["sd"][name]
        mean = f"{_percent(row['mean'][name])} ± {_percent(sd)}" if sd is not None else _percent(row["mean"][name])
        split = name.partition("_")[2]  # a second set of rows: "test", "mismatched"
        marks = "; ".join(_marks(row)) if number == 0 else f"{split} rows" if split else ""
        median = _percent(row["median"][name]) if sd is not None else ""
        lines.append((row["task"], name, row["model"], mean, median, _percent(row["best"][name]), marks))
    return lines


def _placed(published: Published) -> tuple[str, str]:
    """Return the cells of median and best: which of them a published figure is."""
    shown = f"{published.value:.2f}"
    return (shown, "") if published.is_median else ("", shown)


def _percent(value: float) -> str:
    return f"{100.0 * float(value):.2f}"


def _marks(row: Mapping[str, Any]) -> list[str]:
    from finetune.published_scores import OFFICIAL_ROWS

    seeds, settings, rows = len(row["seeds"]), row["settings"], row["rows"]
    marks = ["dev", "one seed" if seeds == 1 else f"{seeds} seeds", _weights(row["parameters"])]
    if row["weights"] == "random":
        marks.append("RANDOM WEIGHTS, not pretrained")
    elif row["weights"] == "fine-tuned":
        marks.append("starts from a fine-tuned model")
    if not row["selection"].startswith("none"):
        marks.append("mean and median are of best evaluations: chosen on dev")
    if row["chosen_on_dev"]:
        marks.append(f"the best of {row['chosen_on_dev']} settings: chosen on dev")
    available = rows.get("dev_available", rows["dev"])  # rows of before it was recorded were all scored
    train, dev = OFFICIAL_ROWS.get(row["task"], (rows["train_available"], available))
    if rows["train"] != train:
        marks.append(f"{rows['train']:,} of {max(train, rows['train_available']):,} training rows")
    if rows["dev"] < available:
        marks.append(f"{rows['dev']:,} of {available:,} dev rows")
    elif rows["dev"] != dev:
        marks.append(f"{rows['dev']:,} dev rows, not the official {dev:,}")
    if row["unknown_share"] > 0.01:
        marks.append(f"{100.0 * row['unknown_share']:.1f} % of the tokens unknown")
    marks.append(
        f"{settings['max_seq_len']} tokens, batch {settings['batch_size']}, lr {settings['learning_rate']:g}, "
        f"{settings['epochs']} epochs"
    )
    return marks


def _weights(count: int) -> str:
    return f"{count / 1e6:.1f}M weights" if count >= 1e6 else f"{count:,} weights"


def _markdown(lines: Sequence[tuple[str, ...]]) -> list[str]:
    rule = ["---:" if _NUMBERS.start <= i < _NUMBERS.stop else "---" for i in range(len(_HEADER))]
    return ["| " + " | ".join(cells) + " |" for cells in (_HEADER, tuple(rule), *lines)]


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cells[i]) for cells in (_HEADER, *lines)) for i in range(len(_HEADER))]

    def line(cells: tuple[str, ...]) -> str:
        parts = [
            cell.rjust(width) if _NUMBERS.start <= i < _NUMBERS.stop else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return [line(_HEADER), *(line(cells) for cells in lines)]


if __name__ == "__main__":
    raise SystemExit(main())
