"""fsspec as the project uses it: file systems by URL, and the errors of every store as one of ours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shards.durable import FileDigest
from shards.errors import NotFoundError, StorageError, UsageError, WordloomError

CACHE_VARIABLE = "WORDLOOM_CACHE"
_CHUNK_BYTES = 4 << 20


def cache_root() -> Path:
    """Return the folder for what can be fetched again: ``$WORDLOOM_CACHE``, or ``~/.cache/wordloom``."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "wordloom"


def connect(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path of the URL on it. Raises UsageError when nothing here speaks it."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        hint = "pip install 'wordloom[s3]'" if url.startswith("s3://") else None
        raise UsageError(f"no way to reach this store: {error}", where=url, hint=hint) from error
    return fs, str(path).rstrip("/")


@contextmanager
def store_errors(what: str, url: str) -> Iterator[None]:
    """Turn whatever a store's client raises into StorageError, save what is absent (FileNotFoundError) and our own."""
    try:
        yield
    except (WordloomError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:  # each client has a tree of errors of its own
        raise StorageError(f"cannot {what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", where=url) from error


def read_bounded(fs: Any, path: str, max_bytes: int) -> bytes:
    """Return a whole object of at most `max_bytes` bytes. Raises NotFoundError, StorageError."""
    try:
        with store_errors("read", path), fs.open(path, "rb", block_size=1 << 20) as stream:
            data: bytes = stream.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFoundError("no such object", where=path) from None
    if len(data) > max_bytes:
        raise StorageError("the object is larger than it can be", where=path, expected=f"at most {max_bytes:,} bytes")
    return data


def read_through(fs: Any, path: str, take: Callable[[bytes], object] | None = None) -> FileDigest | None:
    """Read an object from end to end, piece by piece, and return its digest; None when it is absent."""
    digest, size = hashlib.sha256(), 0
    try:
        with store_errors("read", path), fs.open(path, "rb", block_size=_CHUNK_BYTES) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if take is not None:
                    take(chunk)
    except FileNotFoundError:
        return None
    return FileDigest(sha256=digest.hexdigest(), size=size)
