"""Input formats: how a file is cut at document borders, and how the bytes between two cuts become documents.

A format has a `border`, a pattern of bytes after whose match a new document begins, and `documents`, which reads a run of
whole documents. Rows are lines of the file, split at ``\\n`` and nothing else, counted from 1. A row that is not UTF-8 is
dropped and counted with its number; the rows around it stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.documents import Document, Ledger
from pipeline.errors import InputError


class Format(Protocol):
    """An input format; see the module docstring."""

    @property
    def name(self) -> str: ...

    @property
    def border(self) -> re.Pattern[bytes]: ...

    @property
    def splits_anywhere(self) -> bool:
        """Whether a document too large for memory may be cut at any row, or has to be refused."""
        ...

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        """Yield the documents of `data`, whose first line is row `first_row`; account for dropped rows in `ledger`."""
        ...


def decoded_rows(data: bytes, first_row: int, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Yield (row, line without its line end) for each row that is UTF-8, blank ones included."""
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        for row, raw in enumerate(data.split(b"\n"), first_row):
            try:
                yield row, raw.decode("utf-8").rstrip("\r")
            except UnicodeDecodeError:
                ledger.drop_row(row, "invalid_utf8")
        return
    for row, line in enumerate(lines, first_row):
        yield row, line.rstrip("\r")


@dataclass(frozen=True)
class TextFormat:
    """Plain text: a sentence or a paragraph per line, documents set apart by blank lines."""

    name: str = "text"
    border: re.Pattern[bytes] = re.compile(rb"\n(?:[ \t\r]*\n)+")
    splits_anywhere: bool = True

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        lines: list[str] = []
        rows: list[int] = []
        for row, line in decoded_rows(data, first_row, ledger):
            if line and not line.isspace():
                lines.append(line)
                rows.append(row)
            elif lines:
                yield Document(lines=tuple(lines), rows=tuple(rows))
                lines, rows = [], []
        if lines:
            yield Document(lines=tuple(lines), rows=tuple(rows))


@dataclass(frozen=True)
class WikiExtractorFormat:
    """wikiextractor's files: ``<doc … title="…">``, the title, the text, ``</doc>``.

    The title line is left out (reason ``title``): it is no sentence and would teach the order of nothing. An article that
    holds only its title is dropped as ``title_only``.
    """

    name: str = "wikiextractor"
    border: re.Pattern[bytes] = re.compile(rb"</doc>[ \t\r]*\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        lines: list[str] = []
        rows: list[int] = []
        title: str | None = None
        inside = False
        for row, line in decoded_rows(data, first_row, ledger):
            if line.startswith("<doc ") and line.rstrip().endswith(">"):
                if inside and lines:  # the end tag of the article before is missing: its text is still a document
                    yield Document(lines=tuple(lines), rows=tuple(rows))
                lines, rows, inside, title = [], [], True, _title(line)
            elif line.startswith("</doc>"):
                if lines:
                    yield Document(lines=tuple(lines), rows=tuple(rows))
                elif inside:
                    ledger.drop_document("title_only")
                lines, rows, inside, title = [], [], False, None
            elif not line or line.isspace():
                continue
            elif not inside:
                ledger.drop_row(row, "outside_of_documents")
            elif title is not None:
                # Only the first line can be the title, and it is left out only when it is what the tag says.
                if _same(line, title):
                    ledger.drop_row(row, "title")
                else:
                    lines.append(line)
                    rows.append(row)
                title = None
            else:
                lines.append(line)
                rows.append(row)
        if lines:
            yield Document(lines=tuple(lines), rows=tuple(rows))
        elif inside:
            ledger.drop_document("title_only")


_TITLE = re.compile(r'title="(.*)">\s*$')
_ENTITIES = {"&amp;": "&", "&quot;": '"', "&lt;": "<", "&gt;": ">", "&#39;": "'"}


def _title(tag: str) -> str | None:
    found = _TITLE.search(tag)
    return found.group(1) if found else None


def _same(line: str, title: str) -> bool:
    def plain(text: str) -> str:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
        return text.strip()

    return plain(line) == plain(title)


@dataclass(frozen=True)
class JsonLinesFormat:
    """One JSON object a line, one document an object: the string under `field`, its lines at ``\\n``."""

    field: str = "text"
    name: str = "jsonl"
    border: re.Pattern[bytes] = re.compile(rb"\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        for row, line in decoded_rows(data, first_row, ledger):
            if not line or line.isspace():
                continue
            text = self._text(line)
            if text is None:
                ledger.drop_row(row, "invalid_json")
                ledger.drop_document("invalid_json")
            elif not text.strip():
                ledger.drop_row(row, "empty")
                ledger.drop_document("empty")
            else:
                lines = tuple(part for part in text.replace("\r", "").split("\n") if part.strip())
                yield Document(lines=lines, rows=(row,) * len(lines))

    def _text(self, line: str) -> str | None:
        try:
            value = json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            return None
        text = value.get(self.field) if isinstance(value, dict) else None
        return text if isinstance(text, str) else None


FORMATS: dict[str, Format] = {"text": TextFormat(), "wikiextractor": WikiExtractorFormat(), "jsonl": JsonLinesFormat()}

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_SNIFF_BYTES = 1 << 16


def detect(head: bytes, declared: str, where: object) -> Format:
    """Return the format of a file from its first bytes; `declared` is the corpus's, or ``auto``.

    Raises InputError for compressed files and for files that are plainly no UTF-8 text.
    """
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            raise InputError(f"is compressed ({kind})", where=where, hint="Decompress it and pass the text file")
    _require_utf8(head[:_SNIFF_BYTES], where)
    if declared != "auto":
        return FORMATS[declared]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return FORMATS["jsonl"]
    return FORMATS["wikiextractor" if text.startswith(b"<doc ") else "text"]


def _require_utf8(head: bytes, where: object) -> None:
    """Refuse a file most of whose first rows are not UTF-8: single bad rows are dropped later, a wrong encoding is an error."""
    rows = head.split(b"\n")
    rows = rows[:-1] if len(rows) > 1 and len(head) == _SNIFF_BYTES else rows  # the last one may be cut in a character
    bad = sum(1 for row in rows if not _is_utf8(row))
    nul = head.count(b"\0")
    if nul * 8 > len(head) > 64:
        raise InputError(
            "looks like UTF-16 or binary data", where=where, expected="UTF-8 text", hint="Convert it: iconv -f UTF-16 -t UTF-8"
        )
    if (bad * 2 > len(rows) and len(rows) > 1) or (bad == len(rows) and len(head) == _SNIFF_BYTES):
        guess = "GB18030" if _decodes(head, "gb18030") else "another encoding"
        raise InputError(
            f"is not UTF-8: {bad} of its first {len(rows)} rows are not; it looks like {guess}", where=where,
            hint="Convert it: iconv -f GB18030 -t UTF-8",
        )  # fmt: skip


def _is_utf8(row: bytes) -> bool:
    return _decodes(row, "utf-8")


def _decodes(data: bytes, encoding: str) -> bool:
    for cut in range(min(4, len(data) + 1)):  # the end may be in the middle of a character
        try:
            data[: len(data) - cut].decode(encoding)
        except UnicodeDecodeError:
            if encoding == "utf-8":
                return False
            continue
        return True
    return False
