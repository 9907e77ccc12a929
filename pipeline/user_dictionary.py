"""User dictionaries in jieba's format: a word a row, ``word [frequency] [tag]``, applied one by one as jieba's add_word does.

A word without a frequency gets the one at which jieba cuts it out, which depends on the words before it: the order of rows
counts. Tags are read and not used. Refused are rows of another form, and the frequency 0, with which jieba deletes a word.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import EncodingError, InputError
from shards.errors import NotFoundError

_ROW = re.compile(r"(\S+)(?: +([0-9]{1,12}))?(?: +([a-z]+))?")
_MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class UserDictionary:
    """`words`: (word, frequency or None) in the order of their rows; `sha256` is over the file."""

    words: tuple[tuple[str, int | None], ...]
    sha256: str

    @classmethod
    def read(cls, path: str | Path) -> UserDictionary:
        """Read a file. Raises NotFoundError, EncodingError for other bytes than UTF-8, and InputError for a bad row."""
        path = Path(path)
        if not path.is_file():
            raise NotFoundError("no such user dictionary", where=path)
        data = path.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise InputError("too large to be a user dictionary", where=path, expected=f"at most {_MAX_FILE_BYTES} bytes")
        words: list[tuple[str, int | None]] = []
        for row, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            try:
                text = line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise EncodingError(f"not UTF-8: byte 0x{line[error.start]:02x}", where=f"{path}:{row}") from None
            if not text:
                continue
            match = _ROW.fullmatch(text)
            if match is None:
                raise InputError(
                    "not a row of a user dictionary",
                    where=f"{path}:{row}",
                    expected="'word [frequency] [tag]'",
                    got=repr(text[:80]),
                )
            frequency = None if match[2] is None else int(match[2])
            if frequency == 0:
                raise InputError(
                    "the frequency of a word is 0", where=f"{path}:{row}", expected="at least 1, or none",
                    hint="Words can be added, not deleted; leave the number out to let jieba choose one",
                )  # fmt: skip
            words.append((match[1], frequency))
        return cls(words=tuple(words), sha256=hashlib.sha256(data).hexdigest())
