"""The frame of a report: a few HTML helpers that escape what they are given, and a style sheet for light and dark.

`Html` marks text that is HTML already; anything else is escaped on its way in. A page refers to nothing outside itself.
It is here, beside `shards.cli`, because reports of `pipeline` and of `workflows` share their look and may not import each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Text that is HTML; plain strings are not."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a value as HTML: itself if it is HTML already, escaped otherwise, a dash for None."""
    if isinstance(value, Html):
        return value
    return Html("–" if value is None else escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(text(part) for part in parts))


def tag(name: str, *content: object, cls: str | None = None, title: str | None = None) -> Html:
    """Return an element with the given content."""
    attributes = f' class="{escape(cls)}"' if cls else ""
    attributes += f' title="{escape(title)}"' if title is not None else ""
    return Html(f"<{name}{attributes}>{join(content)}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, numbers_from: int = 1, cls: str | None = None) -> Html:
    """Return a table; the columns from `numbers_from` on are set as numbers. An empty `head` is left out."""

    def cells(kind: str, row: Sequence[object]) -> Html:
        return tag("tr", *(tag(kind, cell, cls="number" if i >= numbers_from else None) for i, cell in enumerate(row)))

    top = tag("thead", cells("th", head)) if head else ""
    return tag("div", tag("table", top, tag("tbody", *(cells("td", row) for row in rows)), cls=cls), cls="scroll")


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return a list of named values."""
    return tag("dl", *(join((tag("dt", name), tag("dd", value))) for name, value in pairs))


def short_hash(value: object, digits: int = 16) -> Html:
    """Return the start of a hash; the whole of it is the tooltip."""
    whole = str(value)
    return tag("code", whole[:digits], title=whole)


def section(heading: str, *content: object) -> Html:
    return tag("section", tag("h2", heading), *content)


def page(title: str, *content: object, style: str = "") -> str:
    """Return the whole document; `style` follows the style sheet that all pages share."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # Nothing may be loaded, nothing may run: a report can be opened wherever it came from.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>{join(content)}</main></body></html>\n'


STYLE = """
:root { --ink: #1d2330; --soft: #5c6577; --paper: #fbfbf9; --card: #ffffff; --rule: #dfe2e8; --a: #2563a8; --b: #c2571a;
  --good: #1f7a4d; --bad: #b3261e; --word: #eef2f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ee; --soft: #98a2b5; --paper: #14171d; --card: #1b1f27;
  --rule: #303642; --a: #6ba8ec; --b: #ef9a5d; --good: #5cc492; --bad: #ff8a80; --word: #262c38; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "PingFang SC", "Noto Sans CJK SC", "Microsoft YaHei",
  sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 3rem 0 .75rem; padding-bottom: .35rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: .95rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 48rem; }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
code, .command { font: .85em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.75rem 0 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-size: .82rem; color: var(--soft); line-height: 1.4; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
table.bars { width: auto; } table.bars td { border: 0; padding: .1rem 1.25rem .1rem 0; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .82rem; }
th, td { padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td:first-child { white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .3rem 1.25rem; margin: .5rem 0;
  font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ol.chain { list-style: none; margin: 1rem 0; padding: 0; }
ol.chain li { position: relative; padding: 0 0 1.1rem 1.75rem; border-left: 2px solid var(--rule); margin-left: .45rem; }
ol.chain li:last-child { border-left-color: transparent; padding-bottom: 0; }
ol.chain li::before { content: ""; position: absolute; left: -.44rem; top: .42rem; width: .75rem; height: .75rem;
  border-radius: 50%; background: var(--a); }
ol.chain .link { white-space: pre-wrap; color: var(--soft); font-size: .85rem; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.sample { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .75rem 1rem; margin: .75rem 0;
  line-height: 2; overflow-wrap: anywhere; }
.sample .w { display: inline-block; line-height: 1.5; background: var(--word); border-radius: 3px; padding: 0 .22em;
  margin: 0 .09em; }
.sample .half { display: block; margin: .2rem 0; }
.sample .tag { color: var(--soft); font-size: .78rem; margin-right: .5rem; }
.meta { font-size: .8rem; color: var(--soft); line-height: 1.4; }
.fill { margin: 1rem 0; }
.fill .gap { border-bottom: 2px solid var(--b); padding: 0 .2em; }
.bar { display: inline-block; height: .6rem; background: var(--a); border-radius: 2px; min-width: 1px; vertical-align: baseline; }
.command { display: block; white-space: pre-wrap; overflow-wrap: anywhere; } .command span { white-space: nowrap; }
svg.curve { display: block; width: 100%; height: auto; margin: .75rem 0 0; overflow: visible; }
svg.curve text { fill: var(--soft); font-size: 11px; }
svg.curve text.title { fill: var(--ink); font-size: 13px; font-weight: 600; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .reference { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .line.a { stroke: var(--a); } svg .line.b { stroke: var(--b); }
svg .dot.a { fill: var(--a); } svg .dot.b { fill: var(--b); }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
