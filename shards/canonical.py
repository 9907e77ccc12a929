"""JSON with one spelling for each value, so that equal content has equal bytes and an equal hash; and its careful reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

from shards.errors import FormatError, NotFoundError

_MAX_DEPTH = 32


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def pretty_json(value: Any) -> bytes:
    """Return the bytes of a JSON value as files hold it: sorted keys, indented, a line end at the end."""
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def fingerprint(value: Any) -> str:
    """Return the sha256 of the canonical bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def read_json_object(path: Path, *, max_bytes: int = 64 << 20) -> dict[str, Any]:
    """Read a JSON file that holds one object, from a stranger.

    Raises NotFoundError or FormatError for a file that is missing, larger than `max_bytes`, not UTF-8, not JSON, not an
    object, nested deeper than 32 levels, or that holds NaN, infinities or duplicate keys.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise FormatError("file is too large to be what it should be", where=path, expected=f"at most {max_bytes} bytes")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("no such file", where=path) from None
    except IsADirectoryError:
        raise FormatError("is a folder", where=path, expected="a JSON file") from None
    return parse_json_object(data, path)


def parse_json_object(data: bytes, where: object) -> dict[str, Any]:
    """Return the object that `data` holds, with the checks of `read_json_object`; `where` is for messages."""

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON number")

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError(f"duplicate key among {sorted(k for k, _ in pairs)[:8]}")
        return result

    try:
        value = json.loads(data.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not readable as JSON: {error}", where=where) from None
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", where=where, got=type(value).__name__)
    if _deeper_than(value, _MAX_DEPTH):
        raise FormatError(f"nested deeper than {_MAX_DEPTH} levels", where=where)
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
