"""Histograms as inline SVG: columns that take their colours from the page's style and carry their values as tooltips."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from shards.page import Html

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 760, 190, 52, 22, 10
_MAX_COLUMNS = 64
_LABELS = 8


def histogram(columns: Sequence[tuple[str, int]], *, name: str) -> Html:
    """Return the chart of (label, count) columns in the given order; neighbours are joined when there are more than 64."""
    columns = _joined(columns)
    most = max((count for _, count in columns), default=0)
    if not most:
        return Html()
    total = sum(count for _, count in columns)
    room, floor = _HEIGHT - _TOP - _BOTTOM, _HEIGHT - _BOTTOM
    step = (_WIDTH - _LEFT) / len(columns)
    parts: list[str] = []
    for share in (0.5, 1.0):
        y = floor - room * share
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * most / total:.1%}</text>')
    every = -(-len(columns) // _LABELS)
    for i, (label, count) in enumerate(columns):
        x, height = _LEFT + i * step, room * count / most
        tip = f"<title>{escape(label)}: {count:,} ({count / total:.2%})</title>"
        place = f'x="{x + 0.6:.1f}" y="{floor - height:.1f}" width="{max(step - 1.2, 0.8):.1f}" height="{height:.1f}"'
        parts.append(f"<rect {place}>{tip}</rect>")
        if i % every == 0:
            parts.append(f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>')
    return Html(
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )


def _joined(columns: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    if len(columns) <= _MAX_COLUMNS:
        return columns
    size = -(-len(columns) // _MAX_COLUMNS)
    groups = [columns[i : i + size] for i in range(0, len(columns), size)]
    return [(f"{group[0][0]} … {group[-1][0]}", sum(count for _, count in group)) for group in groups]
