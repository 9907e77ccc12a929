"""The input formats by name, and how a file's first bytes tell its format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from pipeline.errors import InputError
from pipeline.format_json import JsonLinesFormat
from pipeline.format_mediawiki import MediaWikiFormat
from pipeline.format_protocol import Format
from pipeline.format_rows import RowsFormat
from pipeline.format_text import TextFormat
from pipeline.format_wikiextractor import WikiExtractorFormat
from pipeline.reader_settings import TABLE_KINDS
from pipeline.text_encoding import require_encoding

FORMATS: dict[str, Format] = {
    "text": TextFormat(), "wikiextractor": WikiExtractorFormat(), "mediawiki": MediaWikiFormat(), "jsonl": JsonLinesFormat(),
    "rows": RowsFormat(),
}  # fmt: skip

_TABLES = {b"PAR1": "parquet", b"ARROW1\0\0": "arrow"}
_ARROW_STREAM, _ARROW_SUFFIXES = b"\xff\xff\xff\xff", (".arrow", ".feather", ".ipc")
_COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_SNIFF_BYTES = 1 << 16
_MEDIAWIKI = re.compile(r"(?:<\?xml[^>]*\?>\s*)?<mediawiki[\s>]")


def format_name(format: Format, declared: str, field: str | None) -> str:
    """Return how plans name a format: with the field, where it was given and the format has fields (``jsonl:content``).

    A file whose `declared` format names a field keeps that one.
    """
    if ":" in declared:
        return declared
    return f"{format.name}:{field}" if field is not None and hasattr(format, "field") else format.name


def find_format(name: str, lang: str | None = None) -> Format:
    """Return the format of a `format_name`; `lang` is for formats that choose between languages."""
    kind, _, field = name.partition(":")
    format = FORMATS[kind]
    given = {"field": field or None, "lang": lang}
    options = {key: value for key, value in given.items() if value is not None and hasattr(format, key)}
    return replace(format, **options) if options else format  # type: ignore[type-var]


def table_kind(head: bytes, declared: str, path: str) -> str | None:
    """Return which kind of table a file is: as declared, else by its first bytes, else by its name; None for no table."""
    if declared in TABLE_KINDS:
        return declared
    found = next((kind for magic, kind in _TABLES.items() if head.startswith(magic)), None)
    name = PurePosixPath(path.lower())
    suffix = PurePosixPath(name.stem).suffix if name.suffix in _COMPRESSION_SUFFIXES else name.suffix
    if found is None and suffix in _ARROW_SUFFIXES and head.startswith(_ARROW_STREAM):
        found = "arrow"
    if declared != "auto" and found is not None:
        raise InputError(
            f"is {'an' if found == 'arrow' else 'a'} {found} file", where=path, expected=declared, hint=f"Pass --format {found}"
        )
    return suffix[1:] if found is None and declared == "auto" and suffix in (".csv", ".tsv") else found


def detect(head: bytes, declared: str, where: object, encoding: str = "utf-8") -> Format:
    """Return the format of a text file from its first bytes (decompressed, in `encoding`); `declared` may be ``auto``.

    Raises EncodingError for files that are plainly in another encoding, saying in which, and for binary data.
    """
    whole = len(head) < _SNIFF_BYTES
    head = head[:_SNIFF_BYTES]
    require_encoding(head, encoding, where, whole=whole)
    if declared != "auto":
        return find_format(declared)
    text = head.decode(encoding, "replace").lstrip("\ufeff").lstrip()
    if text.startswith("{"):
        return FORMATS["jsonl"]
    if "mediawiki" in FORMATS and _MEDIAWIKI.match(text):
        return FORMATS["mediawiki"]
    return FORMATS["wikiextractor" if text.startswith("<doc ") else "text"]
