"""Compare runs in pictures: ``python -m pretrain.plot RUN… [--out DIR]``.

Reads each run's metrics.jsonl and writes comparison.png and comparison.html; the page holds its pictures in itself and loads
nothing. Lines are training, dots are evaluations on held-out samples.
"""

from __future__ import annotations

import argparse
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards import cli
from shards.errors import NotFoundError

COMMAND = "pretrain.plot"
PNG, HTML = "comparison.png", "comparison.html"
_COLUMNS = 2
_SIZE_INCHES = (13.0, 11.0)
_SMOOTHED_FROM = 100  # points; fewer are shown as they are
_SMOOTHED_OVER = 0.02  # of the points
_MAX_POINTS = 20_000


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: a key of the training records, of the evaluations, or both."""

    title: str
    key: str | None
    eval_key: str | None
    scale: float = 1.0
    noisy: bool = True


PANELS = (
    Panel(title="loss", key="loss", eval_key="loss"),
    Panel(title="lm_loss", key="lm_loss", eval_key="lm_loss"),
    Panel(title="sop_loss", key="sop_loss", eval_key="sop_loss"),
    Panel(title="lm accuracy, held out (%)", key=None, eval_key="lm_accuracy", scale=100.0),
    Panel(title="learning rate", key="lr", eval_key=None, noisy=False),
    Panel(title="samples/s", key="samples_per_s", eval_key=None),
)


@dataclass(frozen=True, kw_only=True)
class RunMetrics:
    """The metrics of one run: training records and evaluations, each with its step."""

    name: str
    records: tuple[dict[str, Any], ...]
    evaluations: tuple[dict[str, Any], ...]

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Return (steps, values) of a key of the training records; records without it are passed over."""
        return _series(self.records, key)

    def evaluated(self, key: str) -> tuple[list[int], list[float]]:
        return _series(self.evaluations, key)


def _series(records: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    found = [(r["step"], float(r[key])) for r in records if isinstance(r.get(key), (int, float))]
    return [step for step, _ in found], [value for _, value in found]


def read_runs(paths: Sequence[str]) -> list[RunMetrics]:
    """Read the runs. Raises NotFoundError, naming the first that has no metrics."""
    from pretrain.log_line import METRICS, read_metrics

    folders = [Path(path) for path in paths]
    runs = []
    for folder, name in zip(folders, _names(folders), strict=True):
        if not folder.is_dir():
            raise NotFoundError("no such run", where=folder, hint="List runs: python -m pretrain.runs")
        metrics = read_metrics(folder)
        records = tuple(r for r in metrics if "eval" not in r)
        evaluations = tuple({**r["eval"], "step": r["step"]} for r in metrics if isinstance(r.get("eval"), dict))
        if not records and not evaluations:
            raise NotFoundError(
                "this run has no metrics", where=folder / METRICS, expected="at least one logged step",
                hint="They appear after --logging-steps steps",
            )  # fmt: skip
        runs.append(RunMetrics(name=name, records=records, evaluations=evaluations))
    return runs


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with their parents where two are the same."""
    short = [folder.resolve().name for folder in folders]
    return [str(f) if short.count(name) > 1 else name for f, name in zip(folders, short, strict=True)]


def draw(runs: Sequence[RunMetrics], format: str) -> bytes:
    """Return the comparison as a picture, ``png`` or ``svg``; equal runs give equal bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "wordloom", "svg.fonttype": "none", "axes.formatter.useoffset": False}):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(-(-len(PANELS) // _COLUMNS), _COLUMNS).flat
        for panel, axis in zip(PANELS, axes, strict=True):
            _draw_panel(axis, panel, runs)
        handles = [matplotlib.lines.Line2D([], [], color=f"C{i % 10}", linestyle=_style(i)) for i in range(len(runs))]
        labels = [_plain(run.name) for run in runs]
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(runs), 3), frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format=format, dpi=110, metadata={"Date": None} if format == "svg" else {"Software": None})
    return picture.getvalue()


def _draw_panel(axis: Any, panel: Panel, runs: Sequence[RunMetrics]) -> None:
    empty = True
    for number, run in enumerate(runs):
        color = f"C{number % 10}"
        if panel.key is not None and (series := run.series(panel.key))[0]:
            _draw_line(axis, *series, color=color, style=_style(number), noisy=panel.noisy)
            empty = False
        if panel.eval_key is not None and (series := run.evaluated(panel.eval_key))[0]:
            steps, values = series
            scaled = [panel.scale * value for value in values]
            line = "-" if panel.key is None else "none"
            axis.plot(steps, scaled, color=color, linestyle=line, marker="o", markersize=5, markeredgecolor="white", zorder=3)
            empty = False
    axis.set_title(panel.title, loc="left", fontsize=11)
    axis.set_xlabel("step")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if panel.key == "samples_per_s":
        axis.set_ylim(bottom=0)
    if panel.key == "lr":
        axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    if empty:
        axis.text(0.5, 0.5, "not recorded", transform=axis.transAxes, ha="center", va="center", color="grey")


def _draw_line(axis: Any, steps: list[int], values: list[float], *, color: str, style: str, noisy: bool) -> None:
    """Draw a line; a long and noisy one faintly, with its running mean over it."""
    stride = -(-len(steps) // _MAX_POINTS)
    long = noisy and len(steps) >= _SMOOTHED_FROM
    marker = "." if len(steps) == 1 else None
    axis.plot(
        steps[::stride], values[::stride], color=color, linestyle=style, marker=marker, linewidth=1.0, alpha=0.3 if long else 1.0
    )
    if long:
        import numpy as np

        width = max(5, round(_SMOOTHED_OVER * len(values)))
        smooth = np.convolve(np.asarray(values), np.full(width, 1 / width), mode="valid")
        # The mean of a window stands at its middle.
        middle = steps[(width - 1) // 2 : (width - 1) // 2 + len(smooth)]
        axis.plot(middle[::stride], smooth[::stride], color=color, linestyle=style, linewidth=1.6)


def _style(number: int) -> str:
    return ("-", "--", ":", "-.")[number // 10 % 4]


def _plain(name: str) -> str:
    """Return a name as the legend can show it: no formulas, only characters that every font has."""
    return name.encode("ascii", "backslashreplace").decode("ascii").replace("$", r"\$")


def page(runs: Sequence[RunMetrics], svg: str) -> str:
    """Return a page of HTML with the pictures and a table of where each run stands."""
    columns: list[tuple[str, Callable[[RunMetrics], object]]] = [
        ("run", lambda run: run.name),
        ("steps", lambda run: max((r["step"] for r in (*run.records, *run.evaluations)), default=0)),
        *((f"last {key}", _last(key)) for key in ("loss", "lm_loss", "sop_loss")),
        ("lowest held-out loss", lambda run: _number(min(run.evaluated("loss")[1], default=None))),
        ("highest held-out lm accuracy", lambda run: _number(max(run.evaluated("lm_accuracy")[1], default=None))),
        ("median samples/s", lambda run: _number(_median(run.series("samples_per_s")[1]))),
    ]
    head = "".join(f"<th>{html.escape(title)}</th>" for title, _ in columns)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell(run)))}</td>" for _, cell in columns) + "</tr>" for run in runs)
    style = (
        "body{font:15px sans-serif;margin:2em;max-width:1200px}svg{width:100%;height:auto}"
        "table{border-collapse:collapse;margin-bottom:1em}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}"
        "td:first-child,th:first-child{text-align:left}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Runs compared</title>'
        f"<style>{style}</style></head>\n<body><h1>Runs compared</h1>\n<table><tr>{head}</tr>{rows}</table>\n"
        f"<p>Lines are training, dots are evaluations on held-out samples.</p>\n{svg}\n</body></html>\n"
    )


def _last(key: str) -> Callable[[RunMetrics], object]:
    return lambda run: _number(next(reversed(run.series(key)[1]), None))


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _svg_element(picture: bytes) -> str:
    """Return the <svg> element alone, without the XML prologue, which names a document type on another server."""
    text = picture.decode("utf-8")
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def plot(options: argparse.Namespace) -> cli.Outcome:
    from shards.durable import commit_bytes

    runs = read_runs(options.runs)
    out = Path(options.out)
    pictures = {PNG: draw(runs, "png"), HTML: page(runs, _svg_element(draw(runs, "svg"))).encode()}
    for name, data in pictures.items():
        commit_bytes(out / name, data)
        print(out / name)
    figures = {
        run.name: {
            "records": len(run.records),
            "evaluations": len(run.evaluations),
            "last": run.records[-1] if run.records else None,
        }
        for run in runs
    }
    return cli.Outcome(outputs=tuple(str(out / name) for name in pictures), figures={"runs": figures})


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "Compare runs: a picture and a page of losses, learning rate, throughput, evaluations.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run")
    parser.add_argument("--out", metavar="DIR", default="plots/", help="where the picture and the page are written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(COMMAND, build_parser(), plot, argv)


if __name__ == "__main__":
    raise SystemExit(main())
