"""The files that wikiextractor writes: ``<doc … title="…">``, the title, the text, ``</doc>``.

The title line is left out (reason ``title``): it is no sentence and would teach the order of nothing. An article that holds
only its title is dropped as ``title_only``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.documents import Document, Ledger
from pipeline.rows import decoded_rows, decoded_whole

# Not anchored at line starts: a pattern that opens with one plain character is searched for ten times as fast.
_TAG = re.compile(r"<(?:doc [^\n]*>[^\S\n]*(?=\n|\Z)|/doc>[^\n]*)")
_TITLE = re.compile(r'title="(.*)">\s*$')


@dataclass(frozen=True)
class WikiExtractorFormat:
    """See the module docstring."""

    name: str = "wikiextractor"
    border: re.Pattern[bytes] = re.compile(rb"</doc>[ \t\r]*\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        text = decoded_whole(data)
        if text is None:  # rows that are not UTF-8 are taken out, their numbers kept
            good = list(decoded_rows(data, first_row, ledger))
            return _articles("\n".join(line for _, line in good), [row for row, _ in good], ledger)
        return _articles(text, range(first_row, first_row + text.count("\n") + 1), ledger)


def _articles(text: str, numbers: range | list[int], ledger: Ledger) -> Iterator[Document]:
    """Yield the articles of `text`; `numbers` holds the row number of each of its lines."""
    begin, line = 0, 0  # of what follows the last tag
    tag: str | None = None  # the opening tag of the article we are in
    for found in _TAG.finditer(text):
        if found.start() and text[found.start() - 1] != "\n":
            continue
        lines = text[begin : found.start()].split("\n")[:-1]
        opens = text.startswith("<doc ", found.start())
        # Where the end tag of an article is missing, its text is still a document.
        yield from _article(tag, lines, numbers[line : line + len(lines)], ledger)
        line += len(lines) + 1
        begin, tag = found.end() + 1, text[found.start() : found.end()] if opens else None
    lines = text[begin:].split("\n")
    yield from _article(tag, lines, numbers[line : line + len(lines)], ledger)


def _article(tag: str | None, lines: list[str], rows: range | list[int], ledger: Ledger) -> Iterator[Document]:
    kept = [i for i, line in enumerate(lines) if line and not line.isspace()]
    if tag is None:
        for i in kept:
            ledger.drop_row(rows[i], "outside_of_documents")
        return
    # Only the first line can be the title, and it is left out only when it is what the tag says.
    if kept and (title := _TITLE.search(tag)) is not None and _same(lines[kept[0]], title[1]):
        ledger.drop_row(rows[kept[0]], "title")
        del kept[0]
    if kept:
        yield Document(text="\n".join([lines[i] for i in kept]), rows=tuple([rows[i] for i in kept]))
    else:
        ledger.drop_document("title_only")


def _same(line: str, title: str) -> bool:
    return line == title or html.unescape(line).strip() == html.unescape(title).strip()
