"""How input files are to be read: format, field and encoding."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any

from shards.errors import UsageError, unknown_name

TABLE_KINDS = ("csv", "tsv", "parquet", "arrow", "datasets")

# Codecs that are no character encodings of files, or that hide line feeds inside their escapes.
_NO_FILE_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem", "utf-7"}
_WIDE = {"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"}


@dataclass(frozen=True, kw_only=True)
class ReaderSettings:
    """What is said about the input beyond its bytes.

    format: a name of `pipeline.formats.FORMATS`, a kind of table, or ``auto`` to go by the corpus and the file's first bytes;
    field: the field or column that holds the text, None for the usual ones; encoding: any codec of Python for text, stored
    under its canonical name. Raises UsageError, naming the nearest known name.
    """

    format: str = "auto"
    field: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        known = readable_formats()
        if self.format != "auto" and self.format not in known:
            raise unknown_name("format", self.format, ("auto", *known))
        if self.field is not None and not self.field:
            raise UsageError("--field must name a field", got=repr(self.field))
        object.__setattr__(self, "encoding", _canonical(self.encoding))

    def to_json_object(self) -> dict[str, Any]:
        """Return the settings as a recipe records them."""
        return {"format": self.format, "field": self.field, "encoding": self.encoding}


def readable_formats() -> tuple[str, ...]:
    """Return what a file can be read as: every format but the spool's own, and the kinds of tables."""
    from pipeline.formats import FORMATS

    return (*(name for name in FORMATS if name != "rows"), *TABLE_KINDS)


def _canonical(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):
        from encodings.aliases import aliases

        names = {*aliases, *(name.replace("_", "-") for name in aliases.values())}
        raise unknown_encoding(encoding, names) from None
    name = found.name.replace("_", "-") if found.name.startswith("utf") else found.name
    if name == "utf-8-sig":
        return "utf-8"
    if name in _WIDE:
        return name
    if name.replace("_", "-") in _NO_FILE_ENCODINGS or not found._is_text_encoding or len("\n".encode(name)) != 1:
        raise UsageError(f"{encoding!r} is no encoding of text files", expected="one such as utf-8, gb18030, big5 or utf-16")
    return name


def unknown_encoding(got: str, names: set[str]) -> UsageError:
    """Return the error for an encoding Python does not have, with the nearest it has."""
    near = unknown_name("encoding", got, names)
    suggestion = (near.hint or "").split("Known:")[0].strip()
    return UsageError(near.what, hint=f"{suggestion} Common ones: utf-8, gb18030, big5, utf-16".strip())
