"""How many runs of Han have jieba's word boundaries: by our engines, and by the usual trick with ``##`` pieces."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.boundary_agreement import TRICK, agreement
from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import Figure

_BARS = {"jieba-numpy": ("100 %", 1.0), "rjieba": ("≥ 99.999 %", 0.99999)}


def word_boundaries(setting: Setting) -> list[Figure]:
    figures = []
    for hmm in (True, False):
        found = agreement(_lines(setting), hmm=hmm)
        runs = int(found.pop("runs"))
        for name, share in found.items():
            bar, least = _BARS.get(name, ("", 0.0))
            figures.append(
                Figure(
                    name=f"{name}, HMM {'on' if hmm else 'off'}",
                    bar=bar,
                    value=f"{share:.4%} of {runs:,} runs, {round(runs * (1 - share)):,} differ",
                    reached=None if name == TRICK else share >= least,
                )
            )
    return figures


def _lines(setting: Setting) -> Iterator[str]:
    for file in setting.files("zh"):
        with file.open(encoding="utf-8") as lines:
            yield from lines
