"""The lines of a task file, read to the letter and hashed on the way.

A line ends at a line feed and at nothing else (a carriage return before it belongs to the line end; U+2028 and its kin are
text). The first bytes may be a UTF-8 byte order mark. Whatever else is wrong is reported as ``file:row:column``, from 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from finetune.errors import TaskDataError
from shards.errors import NotFoundError

MAX_LINE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a task file. Raises NotFoundError for a missing one, TaskDataError for a folder."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; the errors of reading are not those of opening
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("no such task file", where=path) from None
    except IsADirectoryError:
        raise TaskDataError("not a task file", where=path, got="a folder") from None
    with file:
        yield file


def lines(file: BinaryIO, path: Path, digest: hashlib._Hash) -> Iterator[tuple[int, str]]:
    """Yield (row number, text) without line ends; every byte goes through `digest`.

    Raises TaskDataError for a line of more than 1 MiB and for bytes that are no UTF-8; the column counts tabs.
    """
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
        yield row, text
