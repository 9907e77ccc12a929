"""JSON lines as CLUE ships them: one object a line, its keys the columns. Numbers are read as their text, lists of texts joined.

Duplicate keys, NaN and lone surrogates are refused, as everything is that a row should not hold, with ``file:row:key``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.errors import TaskDataError
from finetune.lines import lines, opened
from finetune.tsv import Table, listed, no_rows
from shards.canonical import parse_json_object
from shards.errors import FormatError

Record = dict[str, Any]
_JOINER = " "  # between the keywords of CSL


def records(path: Path, digest: hashlib._Hash) -> Iterator[tuple[int, Record]]:
    """Yield (row number, object). Raises NotFoundError, and TaskDataError for a line that is no object or blank inside."""
    blank: int | None = None
    with opened(path) as file:
        for row, text in lines(file, path, digest):
            if not text.strip():  # blank lines may end a file, nothing more
                blank = blank or row
                continue
            if blank is not None:
                raise TaskDataError("a blank line inside the file", where=f"{path}:{blank}:1", hint="Delete it")
            try:
                yield row, parse_json_object(text.encode(), f"{path}:{row}:1")
            except FormatError as error:
                raise TaskDataError(
                    error.what, where=error.where, expected="one JSON object a line", got=repr(text[:40])
                ) from None


def read_json_lines(
    path: Path, *, wanted: Sequence[str], optional: Sequence[str] = (), rewrite: str | None = None, max_defects: int = 0
) -> Table:
    """Read the `wanted` keys of every row, and those of `optional` that the first row has; see `tsv.read_table`."""
    digest = hashlib.sha256()
    change = REWRITES[rewrite] if rewrite else None
    names: list[str] | None = None
    columns: list[list[str]] = []
    rows: list[int] = []
    defects: list[TaskDataError] = []
    for row, record in records(path, digest):
        try:
            if change is not None:
                record = change(record, f"{path}:{row}")
            if names is None:
                names = [*wanted, *(name for name in optional if name in record)]
                columns = [[] for _ in names]
            fields = [_field(record, name, f"{path}:{row}") for name in names]
        except TaskDataError as defect:
            defects.append(defect)
            if len(defects) > max_defects:
                raise
            continue
        rows.append(row)
        for column, text in zip(columns, fields, strict=True):
            column.append(text)
    if not rows or names is None:
        raise no_rows(path)
    return Table(
        path=path,
        columns=tuple(columns),
        rows=rows,
        numbers=tuple(names),
        defects=tuple(str(defect.where) for defect in defects),
        sha256=digest.hexdigest(),
    )


def _field(record: Mapping[str, Any], name: str, place: str) -> str:
    if name not in record:
        raise TaskDataError(
            f"the object has no key {name!r}", where=f"{place}:{name}", expected=repr(name), got=listed(list(record)),
            hint="Is this the task's own file?",
        )  # fmt: skip
    text = text_of(record[name])
    if text is None:
        raise TaskDataError("not a text", where=f"{place}:{name}", got=repr(record[name])[:80])
    if not text.strip():
        raise TaskDataError(f"nothing in {name!r}", where=f"{place}:{name}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise TaskDataError("half of a surrogate pair, which is no character", where=f"{place}:{name}", got=ascii(text)[:80])
    return text


def text_of(value: object) -> str | None:
    """Return a JSON value as the text of a field, None for an object or null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return _JOINER.join(value)
    return value if isinstance(value, str) else None


def mark_spans(record: Record, place: str) -> Record:
    """CLUEWSC: mark the noun (`_…_`) and the pronoun (`[…]`) in the text, so that one text asks whether they are the same."""
    target, text = record.get("target"), record.get("text")
    if not isinstance(target, dict) or not isinstance(text, str):
        raise TaskDataError("no text with the target's two spans", where=f"{place}:target", got=repr(target)[:80])
    marks: list[tuple[int, int, str, str]] = []
    for number, opening, closing in (("span1", "_", "_"), ("span2", "[", "]")):
        begin, span = target.get(f"{number}_index"), target.get(f"{number}_text")
        if not isinstance(begin, int) or not isinstance(span, str) or not 0 <= begin <= len(text) - len(span):
            raise TaskDataError(
                f"{number} does not lie in the text",
                where=f"{place}:target",
                got=f"{begin!r}, {span!r}, of {len(text)} characters",
            )
        marks.append((begin, begin + len(span), opening, closing))
    for begin, end, opening, closing in sorted(marks, reverse=True):
        text = text[:begin] + opening + text[begin:end] + closing + text[end:]
    return {**record, "text": text}


def mark_unlabelled(record: Record, place: str) -> Record:
    """CAIL2019-SCM: write the sign for "no label" where a row has none."""
    return record if record.get("label") not in (None, "") else {**record, "label": UNLABELLED}


UNLABELLED = "-"
REWRITES: dict[str, Callable[[Record, str], Record]] = {"mark_spans": mark_spans, "mark_unlabelled": mark_unlabelled}
