"""Tab-separated files as GLUE ships them, read to the letter.

Rows are the lines of `finetune.lines`. A field ends at a tab. Quotation marks are plain characters: GLUE leaves them
unbalanced, and a reader that pairs them swallows whole rows. Whatever is wrong is reported as ``file:row:column``, all counted
from 1, the column in fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.errors import TaskDataError
from finetune.lines import lines, opened


@dataclass(frozen=True, kw_only=True)
class Table:
    """The wanted columns of one file.

    `columns[c][i]` is the text of wanted column c in the i-th kept row; `rows[i]` is that row's number in the file and
    `numbers[c]` the wanted column's, both from 1 (of JSON lines: its key). `defects` are the places of rows left out because the
    caller allowed some.
    """

    path: Path
    columns: tuple[list[str], ...]
    rows: list[int]
    numbers: tuple[int | str, ...]
    defects: tuple[str, ...]
    sha256: str

    def place(self, column: int, index: int) -> str:
        """Return file:row:column of the `index`-th kept row in wanted column `column`."""
        return f"{self.path}:{self.rows[index]}:{self.numbers[column]}"

    def take(self, indices: Sequence[int]) -> Table:
        """Return the table of the rows at `indices`."""
        columns = tuple([column[i] for i in indices] for column in self.columns)
        return replace(self, columns=columns, rows=[self.rows[i] for i in indices])


def header_of(path: Path) -> list[str]:
    """Return the names in a file's first row. Raises as `read_table` does."""
    with opened(path) as file:
        return next((text.split("\t") for _, text in lines(file, path, hashlib.sha256())), [])


def read_table(
    path: Path, *, wanted: Sequence[str], names: Sequence[str] | None = None, max_defects: int = 0, may_be_empty: bool = False,
    tabs_in_last: bool = False,
) -> Table:  # fmt: skip
    """Read the `wanted` columns of a file.

    `names` are the columns of a file without header; None: the first row names them, in any order. With `tabs_in_last` the
    last of `names` takes what is left of a row, tabs and all. Up to `max_defects` rows with a wrong number of
    fields, or (unless it `may_be_empty`) with nothing in a wanted field, are left out and listed.

    Raises NotFoundError for a missing file, TaskDataError for anything that is not as described.
    """
    digest = hashlib.sha256()
    splits = len(names) - 1 if tabs_in_last and names is not None else -1
    with opened(path) as file:
        rows = ((row, text.split("\t", splits)) for row, text in lines(file, path, digest))
        return collect(rows, path, digest, wanted=wanted, names=names, max_defects=max_defects, may_be_empty=may_be_empty)


def collect(
    lines: Iterator[tuple[int, list[str]]],
    path: Path,
    digest: hashlib._Hash,
    *,
    wanted: Sequence[str],
    names: Sequence[str] | None,
    max_defects: int,
    may_be_empty: bool = False,
) -> Table:
    """Return the wanted columns of numbered rows of fields, which `digest` has hashed when the last one is taken."""
    if names is None:
        header = next(lines, None)
        if header is None:
            raise TaskDataError(
                "the file is empty", where=f"{path}:1:1", expected=f"a header with {listed(wanted)}", got="0 bytes"
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
        defect = _defect(fields, names, () if may_be_empty else picks, f"{path}:{row}")
        if defect is not None:
            defects.append(defect)
            if len(defects) > max_defects:
                raise defect
            continue
        rows.append(row)
        for column, pick in zip(columns, picks, strict=True):
            column.append(fields[pick])
    if not rows:
        raise no_rows(path)
    return Table(
        path=path,
        columns=columns,
        rows=rows,
        numbers=tuple(pick + 1 for pick in picks),
        defects=tuple(str(defect.where) for defect in defects),
        sha256=digest.hexdigest(),
    )


def no_rows(path: Path) -> TaskDataError:
    """Return the error for a file without a single row."""
    return TaskDataError("the file holds no rows", where=f"{path}:1:1", hint="A task needs training and dev rows")


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
                expected=listed(wanted),
                got=listed(names),
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


def listed(names: Sequence[str]) -> str:
    shown = [repr(name if len(name) <= 24 else name[:23] + "…") for name in names[:16]]
    return ", ".join(shown) + (", …" if len(names) > 16 else "")
