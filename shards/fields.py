"""Typed reading of JSON objects: every field that is there is checked, every message names the field and the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shards.errors import FormatError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Fields:
    """One JSON object of a file, read field by field. `place` says where it is, as in ``shards[3]``."""

    def __init__(self, value: Any, *, where: object, place: str = "", allowed: frozenset[str]) -> None:
        self._where, self._place = where, place
        if not isinstance(value, dict):
            raise self.wrong("", "an object", value)
        self._value: Mapping[str, Any] = value
        if unknown := sorted(set(value) - allowed):
            raise FormatError(f"unknown field {self._path(unknown[0])!r}", where=where, expected=sorted(allowed))

    def _path(self, name: str) -> str:
        return ".".join(part for part in (self._place, name) if part)

    def wrong(self, name: str, expected: str, got: Any) -> FormatError:
        """Return the error for a field that is not what it should be."""
        shown = repr(got)
        return FormatError(
            f"field {self._path(name)!r} is wrong",
            where=self._where,
            expected=expected,
            got=shown if len(shown) < 80 else shown[:77] + "…",
        )

    def get(self, name: str) -> Any:
        if name not in self._value:
            raise FormatError(f"field {self._path(name)!r} is missing", where=self._where)
        return self._value[name]

    def integer(self, name: str, *, minimum: int = 0, maximum: int = 2**63 - 1) -> int:
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise self.wrong(name, f"an integer from {minimum} to {maximum}", value)
        return value

    def text(self, name: str, *, pattern: re.Pattern[str] | None = None) -> str:
        value = self.get(name)
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            raise self.wrong(name, "a string" if pattern is None else f"a string like {pattern.pattern}", value)
        return value

    def sha256(self, name: str) -> str:
        return self.text(name, pattern=_SHA256)

    def file_name(self, name: str) -> str:
        """Return a plain file name: no separators, no leading dot, ASCII, so that it cannot lead out of its folder."""
        return self.text(name, pattern=_FILE_NAME)

    def array(self, name: str, *, maximum: int) -> list[Any]:
        value = self.get(name)
        if not isinstance(value, list) or len(value) > maximum:
            raise self.wrong(name, f"a list of at most {maximum} entries", value)
        return value

    def object(self, name: str) -> dict[str, Any]:
        value = self.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return value

    def counts(self, name: str) -> dict[str, int]:
        """Return an object whose values are counts."""
        value = self.object(name)
        for key, count in value.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise self.wrong(f"{name}.{key}", "a count", count)
        return dict(value)
