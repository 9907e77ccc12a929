"""CSV by the usual rules, and tables without header whose columns go by number."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.lines import lines, opened
from finetune.tsv import Table, collect

_SEPARATORS = {"tsv": "\t", "csv": ","}


def read_delimited(path: Path, *, layout: str, wanted: Sequence[str], has_header: bool) -> Table:
    """Read the `wanted` columns of a TSV or CSV file: names of the header, or numbers from 1 where there is none.

    In CSV a field may be quoted, and may then hold line feeds; in TSV quotation marks are plain characters. Raises
    NotFoundError, and TaskDataError with file:row:column.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        numbered = lines(file, path, digest)
        rows = _csv_rows(path, numbered) if layout == "csv" else ((row, text.split("\t")) for row, text in numbered)
        names = None
        if not has_header:
            first = next(rows, None)
            if first is None:
                raise TaskDataError("the file is empty", where=f"{path}:1:1", expected="rows", got="0 bytes")
            rows, names = _again(first, rows), [str(number) for number in range(1, len(first[1]) + 1)]
        return collect(rows, path, digest, wanted=wanted, names=names, max_defects=0)


def _again(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _csv_rows(path: Path, numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line a row begins on, fields)."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for row, text in numbered:
            read = row
            yield text + "\n"

    reader = csv.reader(texts(), strict=True)
    while True:
        begins = read + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise TaskDataError(
                f"no CSV: {error}", where=f"{path}:{begins}:1", hint="Double a quotation mark inside quotes"
            ) from None
        if fields is None:
            return
        yield begins, fields or [""]
