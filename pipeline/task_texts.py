"""The texts of task files, whatever their shape: every string field, for decontamination."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import EncodingError, InputError
from shards.errors import NotFoundError

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".txt")


def read_task_file(path: Path) -> tuple[str, list[str]]:
    """Return a task file's sha256 and the text of each of its string fields, labels and headers included.

    TSV is split at tabs as GLUE ships it (quotation marks are text), CSV by the usual rules; JSON and JSON lines give every
    string at any depth; anything else is a text a line. Raises NotFoundError, EncodingError and InputError, naming file and row.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("no such task file", where=path, hint="--decontaminate takes dev and test files of tasks") from None
    except IsADirectoryError:
        raise InputError("is a folder", where=path, expected="a task file", hint="Name its files: PATH/*.tsv") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise EncodingError("is not UTF-8", where=f"{path}:{row}", hint="Convert it: iconv -f GB18030 -t UTF-8") from None
    return hashlib.sha256(data).hexdigest(), list(_fields(path, text))


def _fields(path: Path, text: str) -> Iterator[str]:
    suffix = path.suffix.lower()
    if suffix == ".tsv":
        for line in text.split("\n"):
            yield from line.rstrip("\r").split("\t")
    elif suffix == ".csv":
        reader = csv.reader(io.StringIO(text, newline=""))
        try:
            for fields in reader:
                yield from fields
        except csv.Error as error:
            raise InputError(f"is no CSV: {error}", where=f"{path}:{reader.line_num}") from error
    elif suffix in (".json", ".jsonl"):
        yield from _json_strings(path, text)
    else:
        yield from text.split("\n")


def _json_strings(path: Path, text: str) -> Iterator[str]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if path.suffix.lower() == ".json" and lines and not _is_json(lines[0][1]):
        lines = [(1, text)]  # one value over many lines; CLUE's .json files are JSON lines
    for number, line in lines:
        yield from _strings(_parsed(path, number, line))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(path: Path, row: int, text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}", where=f"{path}:{row}") from error
    return value


def _strings(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
