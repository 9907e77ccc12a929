"""Tab-separated files as GLUE ships them, read to the letter.

A row ends at a line feed and at nothing else (a carriage return before it belongs to the line end; U+2028 and its kin are
text). A field ends at a tab. Quotation marks are plain characters: GLUE leaves them unbalanced, and a reader that pairs them
swallows whole rows. The first bytes may be a UTF-8 byte order mark. Whatever else is wrong is reported as
``file:row:column``, all counted from 1, the column in fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from finetune.errors import TaskDataError
from shards.errors import NotFoundError

MAX_LINE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The wanted columns of one file.

    `columns[c][i]` is the text of wanted column c in the i-th kept row; `rows[i]` is that row's number in the file and
    `numbers[c]` the wanted column's, both from 1. `defects` are the places of rows left out because the caller allowed some.
    """

    path: Path
    columns: tuple[list[str], ...]
    rows: list[int]
    numbers: tuple[int, ...]
    defects: tuple[str, ...]
    sha256: str

    def place(self, column: int, index: int) -> str:
        """Return file:row:column of the `index`-th kept row in wanted column `column`."""
        return f"{self.path}:{self.rows[index]}:{self.numbers[column]}"


def read_table(path: Path, *, wanted: Sequence[str], names: Sequence[str] | None = None, max_defects: int = 0) -> Table:
    """Read the `wanted` columns of a file.

    `names` are the columns of a file without header; None: the first row names them, in any order. Up to `max_defects` rows
    with a wrong number of fields, or with nothing in a wanted field, are left out and listed.

    Raises NotFoundError for a missing file, TaskDataError for anything that is not as described.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, path, wanted, names, max_defects)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("no such task file", where=path) from None
    except IsADirectoryError:
        raise TaskDataError("not a tab-separated file", where=path, got="a folder") from None


def _read(file: BinaryIO, path: Path, wanted: Sequence[str], names: Sequence[str] | None, max_defects: int) -> Table:
    digest = hashlib.sha256()
    lines = _lines(file, path, digest)
    if names is None:
        header = next(lines, None)
        if header is None:
            raise TaskDataError(
                "the file is empty", where=f"{path}:1:1", expected=f"a header with {_listed(wanted)}", got="0 bytes"
            )
        names = header[1]
    picks = _pick(names, wanted, path)
    columns: tuple[list[str], ...] = tuple([] for _ in wanted)
    rows: list[int] = []
    defects: list[TaskDataError] = []
    blank: int | None = None
    for row, fields in lines:
        if fields == [""]:  # blank lines may end a file, nothing more
            blank = blank or row
            continue
        if blank is not None:
            raise TaskDataError("a blank line inside the file", where=f"{path}:{blank}:1", hint="Delete it")
        defect = _defect(fields, names, picks, f"{path}:{row}")
        if defect is not None:
            defects.append(defect)
            if len(defects) > max_defects:
                raise defect
            continue
        rows.append(row)
        for column, pick in zip(columns, picks, strict=True):
            column.append(fields[pick])
    if not rows:
        raise TaskDataError("the file holds no rows", where=path, hint="A task needs training and dev rows")
    return Table(
        path=path,
        columns=columns,
        rows=rows,
        numbers=tuple(pick + 1 for pick in picks),
        defects=tuple(str(defect.where) for defect in defects),
        sha256=digest.hexdigest(),
    )


def _lines(file: BinaryIO, path: Path, digest: hashlib._Hash) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, fields); every byte goes through `digest`."""
    row = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        row += 1
        digest.update(line)
        if len(line) > MAX_LINE_BYTES:
            raise TaskDataError(
                "the line is too long for a task file",
                where=f"{path}:{row}:1",
                expected=f"at most {MAX_LINE_BYTES:,} bytes",
                got="more",
            )
        if row == 1:
            line = line.removeprefix(_BOM)
        if line.endswith(b"\n"):
            line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            column = line.count(b"\t", 0, error.start) + 1
            raise TaskDataError(
                f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1} of the row",
                where=f"{path}:{row}:{column}",
                hint="Save the file as UTF-8",
            ) from None
        yield row, text.split("\t")


def _pick(names: Sequence[str], wanted: Sequence[str], path: Path) -> tuple[int, ...]:
    """Return the position of each wanted column."""
    for column, name in enumerate(names, 1):
        if name in wanted and names.index(name) + 1 != column:
            raise TaskDataError(f"the header names column {name!r} twice", where=f"{path}:1:{column}")
    for name in wanted:
        if name not in names:
            raise TaskDataError(
                f"the header has no column {name!r}",
                where=f"{path}:1:1",
                expected=_listed(wanted),
                got=_listed(names),
                hint="Is this the task's own file, with its first row?",
            )
    return tuple(names.index(name) for name in wanted)


def _defect(fields: list[str], names: Sequence[str], picks: Sequence[int], place: str) -> TaskDataError | None:
    if len(fields) != len(names):
        column = min(len(fields), len(names)) + 1
        return TaskDataError("wrong number of fields", where=f"{place}:{column}", expected=len(names), got=len(fields))
    for pick in picks:
        if not fields[pick].strip():
            return TaskDataError(f"nothing in column {names[pick]!r}", where=f"{place}:{pick + 1}")
    return None


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name if len(name) <= 24 else name[:23] + "…") for name in names[:16]]
    return ", ".join(shown) + (", …" if len(names) > 16 else "")
