"""Raw MediaWiki dumps (``*-pages-articles.xml``): a document for each article.

Rows: the input line on which each paragraph starts; in a page whose text holds line ends written as character references, or
line ends other than LF, the line of its ``<text>`` for all of them. A dropped page counts as one row, the line of its
``<page>``; a heading as one dropped row (`section_title`). Other markup is no text and is not counted.

Reasons: `not_an_article` (a namespace other than 0; a page without one counts as 0), `redirect`, `not_wikitext`, `empty`,
`page_too_long`, `invalid_utf8`, `invalid_xml`; for rows also `outside_of_documents`.

Each page is parsed by expat on its own. A document type, and with it every entity but the five of XML, can only stand before the
first element, so that none can be declared, expanded or fetched.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from pipeline.documents import BYTE_ORDER_MARK, Document, Ledger
from pipeline.wiki_markup import plain_text

MAX_PAGE_CHARACTERS = 8 << 20  # MediaWiki itself stores no page above 2 MiB
_PAGE = re.compile(rb"<page(?:\s[^<>]*)?>|</page\s*>")
_FRAME = re.compile(rb"<\?xml[^<>]*>|</?mediawiki(?:\s[^<>]*)?>")
_SITE_INFO = (b"<siteinfo>", b"</siteinfo>")
_REDIRECT = re.compile(r"\s*#\s*(?:redirect|重定向|重新導向)", re.IGNORECASE)


@dataclass(frozen=True)
class MediaWikiFormat:
    """A MediaWiki XML dump; see the module docstring."""

    name: str = "mediawiki"
    border: re.Pattern[bytes] = re.compile(rb"</page[ \t]*>[ \t\r]*\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        if first_row == 1 and data.startswith(BOM_UTF8):
            ledger.change_rows(BYTE_ORDER_MARK, (1,))
            data = data[len(BOM_UTF8) :]
        at, row = 0, first_row  # what is before `at` is dealt with; `row` is the line that `at` is on
        opened: int | None = None
        for found in _PAGE.finditer(data):
            closes = found[0].startswith(b"</")
            if closes and opened is not None:
                yield from _page(data[opened : found.end()], row, ledger)
                row += data.count(b"\n", at, found.end())
                at, opened = found.end(), None
                continue
            if opened is not None:
                _drop(row, "invalid_xml", ledger)  # the page before is not closed
            else:
                _outside(data[at : found.start()], row, ledger)
            if closes:
                ledger.drop_row(row + data.count(b"\n", at, found.start()), "invalid_xml")
            end = found.end() if closes else found.start()
            row += data.count(b"\n", at, end)
            at, opened = end, None if closes else end
        if opened is not None:
            _drop(row, "invalid_xml", ledger)
        else:
            _outside(data[at:], row, ledger)


def _drop(row: int, reason: str, ledger: Ledger) -> None:
    ledger.drop_row(row, reason)
    ledger.drop_document(reason)


def _outside(data: bytes, row: int, ledger: Ledger) -> None:
    """Account for rows between pages; the frame of a dump and its description of the site are none."""
    begin = data.find(_SITE_INFO[0])
    end = data.find(_SITE_INFO[1], begin) if begin >= 0 else -1
    if end >= 0:
        end += len(_SITE_INFO[1])
        data = data[:begin] + b"\n" * data.count(b"\n", begin, end) + data[end:]
    if not data or data.isspace():
        return
    data = _FRAME.sub(lambda found: b"\n" * found[0].count(b"\n"), data)
    for number, line in enumerate(data.split(b"\n"), row):
        if line and not line.isspace():
            ledger.drop_row(number, "outside_of_documents")


@dataclass(kw_only=True)
class _Revision:
    timestamp: str = ""
    model: str = "wikitext"
    text: str = ""
    begin: int = -1  # byte of the page at which the text element begins and ends
    end: int = -1


@dataclass(kw_only=True)
class _Page:
    """What expat saw of a page."""

    namespace: str = "0"
    redirect: bool = False
    newest: _Revision | None = None
    revision: _Revision = field(default_factory=_Revision)
    path: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


def _parse(data: bytes) -> _Page:
    """Raises expat.ExpatError for XML that is not well formed."""
    page = _Page()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        page.path.append(name)
        page.parts.clear()
        where = page.path[1:] if len(page.path) < 4 else None  # deeper is nothing, and may be very deep
        if where == ["revision"]:
            page.revision = _Revision()
        elif where == ["redirect"]:
            page.redirect = True
        elif where == ["revision", "text"]:
            page.revision.begin = parser.CurrentByteIndex

    def end(name: str) -> None:
        where, text = page.path[1:] if len(page.path) < 4 else None, "".join(page.parts)
        page.path.pop()
        page.parts.clear()
        if where == ["ns"]:
            page.namespace = text.strip()
        elif where == ["revision", "timestamp"]:
            page.revision.timestamp = text.strip()
        elif where == ["revision", "model"]:
            page.revision.model = text.strip()
        elif where == ["revision", "text"]:
            page.revision.text, page.revision.end = text, parser.CurrentByteIndex
        elif where == ["revision"] and (page.newest is None or page.revision.timestamp >= page.newest.timestamp):
            page.newest = page.revision

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = page.parts.append
    parser.Parse(data, True)
    return page


def _page(data: bytes, row: int, ledger: Ledger) -> Iterator[Document]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        _drop(row, "invalid_utf8", ledger)
        return
    try:
        page = _parse(data)
    except expat.ExpatError:
        _drop(row, "invalid_xml", ledger)
        return
    reason = _refusal(page)
    if reason is not None or page.newest is None:
        _drop(row, reason or "invalid_xml", ledger)
        return
    newest = page.newest
    plain = plain_text(newest.text)
    first = row + data.count(b"\n", 0, newest.begin)
    # Carriage returns and line ends written as references move the lines of the text against those of the file.
    exact = (
        data.count(b"\n", newest.begin, newest.end) == newest.text.count("\n") and b"\r" not in data[newest.begin : newest.end]
    )
    if exact:
        for line in plain.headings:
            ledger.drop_row(first + line, "section_title")
    if not plain.paragraphs:
        _drop(row, "empty", ledger)
        return
    rows = tuple(first + line if exact else first for line, _ in plain.paragraphs)
    yield Document.of([text for _, text in plain.paragraphs], rows)


def _refusal(page: _Page) -> str | None:
    """Return why a page is no document, None when it may be one."""
    if page.namespace != "0":
        return "not_an_article"
    if page.newest is None:
        return "invalid_xml"
    if page.redirect or _REDIRECT.match(page.newest.text):
        return "redirect"
    if page.newest.model != "wikitext":
        return "not_wikitext"
    if len(page.newest.text) > MAX_PAGE_CHARACTERS:
        return "page_too_long"
    return None
