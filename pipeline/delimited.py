"""CSV and TSV with a header, a record at a time, from a stream of bytes.

Quotes part fields as the csv module has it, in TSV as well; a quoted field may hold line ends. Lines end at LF.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from pipeline.errors import InputError
from pipeline.table_column import choose_name

MAX_FIELD_CHARACTERS = 32 << 20
_END = "end of file"


class _Lines:
    """The lines of a stream, for the csv module; remembers whether one of the record at hand could not be decoded."""

    def __init__(self, stream: Any, encoding: str, where: str) -> None:
        encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        self._text = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="\n")
        self._where = where
        self.number = 0
        self.undecoded = False
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(MAX_FIELD_CHARACTERS + 1):
            self.number += 1
            if len(line) > MAX_FIELD_CHARACTERS:
                raise _too_large(self._where, self.number)
            if not line.isascii():
                try:
                    line.encode("utf-8")
                except UnicodeEncodeError:
                    self.undecoded = True
            yield line

    def detach(self) -> None:
        self._text.detach()  # the stream belongs to the caller


def _too_large(where: str, row: int) -> InputError:
    return InputError(
        f"a field is longer than {MAX_FIELD_CHARACTERS >> 20} Mi characters", where=f"{where}:{row}", hint="Is a quote left open?"
    )


def read_delimited(stream: Any, kind: str, field: str | None, where: str, encoding: str) -> Iterator[tuple[int, str | None, str]]:
    """Yield (row, text or None, reason or "") for each record after the header; see `tables.read_table`.

    A quote that the end of the file leaves open costs the lines from there on, each of them a row `unclosed_quote`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    lines = _Lines(stream, encoding, where)
    # A last line that only the reader can see tells a field that is still open from one that ended with the file.
    reader = csv.reader(_ended(lines), delimiter="\t" if kind == "tsv" else ",")
    column, width = -1, 0
    try:
        while True:
            row, lines.undecoded = reader.line_num + 1, False
            try:
                record = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if "field limit" in str(error):
                    raise _too_large(where, row) from error
                yield row, None, "invalid_csv"
                continue
            if lines.ended and record == [_END]:
                break
            if column < 0:
                if record:
                    column, width = record.index(choose_name(record, field, where)), len(record)
            elif lines.ended:
                yield from ((line, None, "unclosed_quote") for line in range(row, lines.number + 1))
                break
            elif record:
                text, reason = _checked(record, column, width, lines.undecoded)
                yield row, text, reason
    finally:
        lines.detach()
    if column < 0:
        raise InputError("has no header", where=f"{where}:1")


def _ended(lines: _Lines) -> Iterator[str]:
    yield from lines
    lines.ended = True
    yield _END


def _checked(record: list[str], column: int, width: int, undecoded: bool) -> tuple[str | None, str]:
    if undecoded:
        return None, "invalid_utf8"
    if len(record) != width:
        return None, "missing_field" if len(record) < width else "extra_fields"
    text = record[column]
    return (None, "empty") if not text or text.isspace() else (text, "")
