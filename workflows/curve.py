"""Line charts as inline SVG: a column of panels over one horizontal axis.

Drawn by hand rather than by a plotting library: the result takes its colours from the page's style (so it follows light and
dark), carries its values as tooltips, needs no import of half a second, and equal numbers give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _LEFT, _RIGHT, _TITLE, _GAP = 760, 64, 14, 26, 22


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a panel. `style` is a class of the page's style sheet; with `markers` every point is a dot with a tooltip."""

    label: str
    style: str
    points: Points
    markers: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A chart with a title, lines, and horizontal lines to compare with, as (label, value)."""

    title: str
    series: tuple[Series, ...]
    references: tuple[tuple[str, float], ...] = ()
    height: int = 150
    from_zero: bool = False


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round values that cover [low, high] in about `about` steps of 1, 2 or 5 times a power of ten."""
    size = max(abs(low), abs(high), 1e-12)
    span = high - low if high - low > 1e-9 * size else size  # a flat line is drawn on the scale of its value
    rough = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


def draw(panels: Sequence[Panel], *, x_label: str) -> str:
    """Return the panels, one below the other, as one SVG element. Panels without a point are left out."""
    shown = [panel for panel in panels if any(series.points for series in panel.series)]
    if not shown:
        return ""
    xs = [x for panel in shown for series in panel.series for x, _ in series.points]
    right_x = max(xs)
    x_ticks = [x for x in ticks(0.0, right_x, 8) if x <= right_x]
    parts: list[str] = []
    top = 0
    for panel in shown:
        parts += _panel(panel, top, x_ticks, right_x)
        top += _TITLE + panel.height + _GAP
    parts.append(f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{top + 12}" text-anchor="end">{escape(x_label)}</text>')
    names = ", ".join(panel.title for panel in shown)
    return f'<svg class="curve" viewBox="0 0 {_WIDTH} {top + 18}" role="img" aria-label="{escape(names)}">{"".join(parts)}</svg>'


def _panel(panel: Panel, top: int, x_ticks: Sequence[float], right_x: float) -> list[str]:
    values = [y for series in panel.series for _, y in series.points] + [y for _, y in panel.references]
    y_ticks = ticks(0.0 if panel.from_zero else min(values), max(values), max(2, panel.height // 36))
    low, high = y_ticks[0], y_ticks[-1]
    ceiling, floor = top + _TITLE, top + _TITLE + panel.height

    def at_x(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / max(right_x, 1e-12)

    def at_y(y: float) -> float:
        return floor - panel.height * (y - low) / (high - low)

    parts = [
        f'<text class="title" x="{_LEFT}" y="{ceiling - 9}">{escape(panel.title)}</text>',
        *_legend(panel.series, ceiling - 9),
    ]
    for y in y_ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 8}" y="{at_y(y) + 3.5:.1f}" text-anchor="end">{number(y)}</text>')
    parts += [f'<text class="axis" x="{at_x(x):.1f}" y="{floor + 14}" text-anchor="middle">{number(x)}</text>' for x in x_ticks]
    for label, y in panel.references:
        parts.append(f'<line class="reference" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>')
        place = f'x="{_WIDTH - _RIGHT - 4}" y="{at_y(y) + 12:.1f}"'
        parts.append(f'<text class="reference-label" {place} text-anchor="end">{escape(label)}</text>')
    for series in panel.series:
        parts += _line(series, [(at_x(x), at_y(y)) for x, y in series.points])
    return parts


def _line(series: Series, places: Points) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line {series.style}" points="{path}"/>'] if places else []
    if series.markers:
        parts += [
            f'<circle class="dot {series.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.2">'
            f"<title>{escape(series.label)}, step {number(step)}: {number(value)}</title></circle>"
            for (x, y), (step, value) in zip(places, series.points, strict=True)
        ]
    return parts


def _legend(series: Sequence[Series], baseline: int) -> list[str]:
    """Return the labels of a panel's lines, right-aligned beside its title; a single line needs none."""
    parts: list[str] = []
    x = _WIDTH - _RIGHT
    for one in reversed(series if len(series) > 1 else ()):
        parts.append(f'<text class="axis" x="{x}" y="{baseline}" text-anchor="end">{escape(one.label)}</text>')
        x -= 10 + round(6.4 * len(one.label))
        parts.append(f'<line class="line {one.style}" x1="{x - 16}" x2="{x}" y1="{baseline - 4}" y2="{baseline - 4}"/>')
        x -= 32
    return parts


def number(value: float) -> str:
    """Return a value as short as it can be read: 400, 0.25, 5e-4."""
    if value and abs(value) < 0.01:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
