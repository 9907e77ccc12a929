"""The files that wikiextractor writes: ``<doc … title="…">``, the title, the text, ``</doc>``.

The title line is left out (reason ``title``): it is no sentence and would teach the order of nothing. An article that holds
only its title is dropped as ``title_only``.
"""

from __future__ import annotations

import html
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.documents import BYTE_ORDER_MARK, Document, Ledger
from pipeline.rows import decoded_rows, decoded_whole

_OPEN, _CLOSE = "<doc ", "</doc>"


@dataclass(frozen=True)
class WikiExtractorFormat:
    """See the module docstring."""

    name: str = "wikiextractor"
    border: re.Pattern[bytes] = re.compile(rb"</doc>[ \t\r]*\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        if first_row == 1 and data.startswith(BOM_UTF8):
            ledger.change_rows(BYTE_ORDER_MARK, (1,))
            data = data[len(BOM_UTF8) :]
        text = decoded_whole(data)
        if text is None:  # rows that are not UTF-8 are taken out, their numbers kept
            good = list(decoded_rows(data, first_row, ledger))
            return _articles("\n".join(line for _, line in good), [row for row, _ in good], ledger)
        return _articles(text, range(first_row, first_row + text.count("\n") + 1), ledger)


def _articles(text: str, numbers: range | list[int], ledger: Ledger) -> Iterator[Document]:
    """Yield the articles of `text`; `numbers` holds the row number of each of its lines."""
    lines = text.split("\n")
    begin = 0  # of what follows the last tag
    tag: str | None = None  # the opening tag of the article we are in
    for i in [i for i, line in enumerate(lines) if line[:1] == "<"]:
        opens = lines[i].startswith(_OPEN) and lines[i].rstrip().endswith(">")
        if not opens and not lines[i].startswith(_CLOSE):
            continue
        # Where the end tag of an article is missing, its text is still a document. Between articles there is mostly nothing.
        if (begin < i or tag is not None) and (article := _article(tag, lines[begin:i], numbers[begin:i], ledger)):
            yield article
        begin, tag = i + 1, lines[i] if opens else None
    if (article := _article(tag, lines[begin:], numbers[begin:], ledger)) is not None:
        yield article


def _article(tag: str | None, lines: list[str], rows: range | list[int], ledger: Ledger) -> Document | None:
    kept = [i for i, line in enumerate(lines) if line and not line.isspace()]
    if tag is None:
        for i in kept:
            ledger.drop_row(rows[i], "outside_of_documents")
        return None
    # Only the first line can be the title, and it is left out only when it is what the tag says.
    if kept and _same(lines[kept[0]], _title(tag)):
        ledger.drop_row(rows[kept[0]], "title")
        del kept[0]
    if not kept:
        ledger.drop_document("title_only")
        return None
    return Document(text="\n".join([lines[i] for i in kept]), rows=tuple([rows[i] for i in kept]))


def _title(tag: str) -> str | None:
    _, _, rest = tag.rstrip().partition('title="')
    return rest[:-2] if rest.endswith('">') else None


def _same(line: str, title: str | None) -> bool:
    return title is not None and (line == title or html.unescape(line).strip() == html.unescape(title).strip())
