"""``make bench``: measure, and write the table of docs/benchmarks.md between its two marks.

    python -m tests.benchmarks.run --data DIR [--only NAME…] [--repeats N] [--quick] [--write]

DIR holds ``zhwiki/AA``, ``enwiki/AA`` and ``vocab`` (default: $WORDLOOM_DATA); `network` needs none. Run it on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.builds import Setting, memory, scaling, speed
from tests.benchmarks.calm import CalmTurns
from tests.benchmarks.four_tokenizers import four_tokenizers
from tests.benchmarks.loading import loader, seek
from tests.benchmarks.measure import ROOT, Figure
from tests.benchmarks.network import network
from tests.benchmarks.predictions import predictions
from tests.benchmarks.steps import steps
from tests.benchmarks.word_boundaries import word_boundaries

BENCHMARKS: dict[str, Callable[[Setting], list[Figure]]] = {
    "zh": partial(speed, lang="zh"),
    "en": partial(speed, lang="en"),
    "scaling": scaling,
    "memory": memory,
    "tokenizers": four_tokenizers,
    "boundaries": word_boundaries,
    "plan": predictions,
    "step": steps,
    "loader": loader,
    "seek": seek,
    "network": network,
}
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--data", type=Path, default=os.environ.get("WORDLOOM_DATA"))
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small inputs: to try the scripts, not for figures")
    parser.add_argument("--write", action="store_true", help="replace the sections that were measured in docs/benchmarks.md")
    parser.add_argument("--torch-python", type=Path, help="a python with torch and transformers, for the network benchmark")
    parser.add_argument(
        "--calm", type=float, metavar="NS",
        help="take a turn of zh, en or scaling again when a look-up in memory takes longer than NS before or after it",
    )  # fmt: skip
    options = parser.parse_args()
    if options.data is None and options.only != ["network"]:
        parser.error("pass --data, or set WORDLOOM_DATA")
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="wordloom-bench-") as work:
            setting = Setting(
                data=(options.data or Path(work)).resolve(), work=Path(work), repeats=options.repeats, quick=options.quick,
                torch_python=options.torch_python, turns=CalmTurns(max_lookup_ns=options.calm),
            )  # fmt: skip
            section = render(name, BENCHMARKS[name](setting), setting)
        print(section, flush=True)
        if options.write:
            replace_section(name, section)


def render(name: str, figures: list[Figure], setting: Setting) -> str:
    """Return one benchmark as a table, with when, where and how it was measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    lines = [
        f"{time.strftime('%Y-%m-%d')}, commit {commit}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}:",
        f"`python -m tests.benchmarks.run --only {name}`, median of {setting.repeats} (least to greatest){_calm(setting.turns)}", "",
        "| figure | bar | measured | |", "|---|---|---|---|",
    ]  # fmt: skip
    marks = {True: "reached", False: "**short**", None: ""}
    lines += [f"| {f.name} | {f.bar} | {f.value} | {marks[f.reached]} |" for f in figures]
    return "\n".join(lines)


def _calm(turns: CalmTurns) -> str:
    if turns.max_lookup_ns is None:
        return ""
    return f"; turns with a look-up in memory over {turns.max_lookup_ns:.0f} ns before or after were taken again ({turns.thrown_away})"


def replace_section(name: str, section: str) -> None:
    """Put a section between its marks in the page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(begin, 1)
    _, after = rest.split(end, 1)
    PAGE.write_text(f"{before}{begin}\n{section}\n{end}{after}", encoding="utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
