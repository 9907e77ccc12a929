"""The one place of the project that renames, fsyncs or deletes.

A file is committed by: write under a temporary name in the same folder, fsync it, rename it over the final name, fsync the
folder. After a crash at any moment the final name holds the old bytes or the new ones, whole; what is left under a temporary
name is swept by the next writer. A folder is committed the same way, every file in it fsynced before the rename.

Files that mean nothing until another one names them by sha256 may be written unsettled: renamed without an fsync, and settled
together before that other file is committed. Waiting for the disk once costs a small part of waiting for each.

`fault_hook`, when a test sets it, is called before each durable operation with its kind and path: by raising or by ending the
process there, tests visit every point at which a machine can fail.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shards.errors import StorageError

_TEMPORARY = ".tmp-"
_CHUNK_BYTES = 1 << 20
_SETTLING_THREADS = 8  # they wait for the disk, which takes what waits together in one go

fault_hook: Callable[[str, Path], None] | None = None


def operation(kind: str, path: Path) -> None:
    """Pass one durable operation by the hook; for storage that is not a file system of this machine as well."""
    if fault_hook is not None:
        fault_hook(kind, path)


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """sha256 (64 hexadecimal digits) and size in bytes of a file."""

    sha256: str
    size: int


class HashedFile:
    """A file being written; counts and hashes what passes. pyarrow writes to it as to any Python file."""

    closed = False

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw, self._path, self._hash, self._size = raw, path, hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> int:
        operation("write", self._path)
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        self._raw.write(view)
        self._hash.update(view)
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._raw.flush()

    def close(self) -> None:
        """Leave the closing to `commit_stream`, which still has to fsync."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def digest(self) -> FileDigest:
        return FileDigest(sha256=self._hash.hexdigest(), size=self._size)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = ""
        with suppress(OSError):
            free = f"; {shutil.disk_usage(path.parent).free:,} bytes are free there"
        raise StorageError(f"cannot write: {error.strerror or error}{free}", where=path) from error


@contextmanager
def commit_stream(path: Path, *, settled: bool = True) -> Iterator[HashedFile]:
    """Give a file to write to; commit it under `path` when the block ends, or leave no trace when it raises.

    With `settled` off it is whole after the death of the process, but may be broken or gone after a power cut until `settle`.
    Raises StorageError, naming the file, when the disk refuses.
    """
    temporary = path.parent / f".{path.name}{_TEMPORARY}{uuid.uuid4().hex[:12]}"
    try:
        with _storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            operation("create", path)
            with open(temporary, "xb") as raw:
                yield (hashed := HashedFile(raw, path))
                if settled:
                    raw.flush()
                    operation("fsync", path)
                    os.fsync(raw.fileno())
            assert hashed is not None
            operation("rename", path)
            os.replace(temporary, path)
            if settled:
                sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):  # what stopped the write may stop this too; what is left is swept by the next writer
            temporary.unlink()
        raise


def commit_bytes(path: Path, data: bytes, *, settled: bool = True) -> FileDigest:
    """Commit `data` as the whole content of `path`; see `commit_stream`."""
    with commit_stream(path, settled=settled) as file:
        file.write(data)
    return file.digest


def settle(folder: Path, names: Sequence[str]) -> None:
    """Make files of `folder`, and their names, outlive a power cut. Raises StorageError, naming the file."""
    paths = [folder / name for name in names]
    for path in paths:
        with _storage_errors(path):
            operation("fsync", path)
    with ThreadPoolExecutor(_SETTLING_THREADS) as threads:
        list(threads.map(_sync_file, paths))
    with _storage_errors(folder):
        sync_directory(folder)


def _sync_file(path: Path) -> None:
    with _storage_errors(path), open(path, "rb") as handle:
        os.fsync(handle.fileno())


def link_file(old: Path, new: Path) -> None:
    """Give the bytes of `old` a second name in the same folder, over whatever had it; a copy where links are not to be had."""
    temporary = new.parent / f".{new.name}{_TEMPORARY}{uuid.uuid4().hex[:12]}"
    with _storage_errors(new):
        operation("link", new)
        try:
            os.link(old, temporary)
        except OSError:
            _copy_file(old, new)
            return
        try:
            operation("rename", new)
            os.replace(temporary, new)
        finally:
            temporary.unlink(missing_ok=True)  # a rename over another link of the same file does nothing at all
        sync_directory(new.parent)


def _copy_file(old: Path, new: Path) -> None:
    with open(old, "rb") as source, commit_stream(new) as file:
        while chunk := source.read(_CHUNK_BYTES):
            file.write(chunk)


def commit_directory(temporary: Path, final: Path) -> None:
    """Commit the folder `temporary` under the name `final`, which must not exist; both lie in the same folder."""
    with _storage_errors(final):
        for folder, _, names in os.walk(temporary):
            for name in sorted(names):
                file = Path(folder) / name
                operation("fsync", file)
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
            sync_directory(Path(folder))
        operation("rename", final)
        os.rename(temporary, final)
        sync_directory(final.parent)


def sync_directory(path: Path) -> None:
    """Make renames and deletions inside `path` outlive a power cut."""
    operation("fsync_directory", path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_line(path: Path, line: str) -> None:
    """Append one line to a log in a single write; a killed process leaves at most one broken last line."""
    with _storage_errors(path):
        operation("append", path)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (line.rstrip("\n") + "\n").encode())
        finally:
            os.close(handle)


def truncate(path: Path, size: int) -> None:
    """Cut a file to its first `size` bytes."""
    with _storage_errors(path):
        operation("truncate", path)
        with open(path, "r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def remove_file(path: Path) -> None:
    """Delete a file, if it is there."""
    with _storage_errors(path):
        operation("remove", path)
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Delete a folder and all in it, if it is there; a link is unlinked, never followed."""
    with _storage_errors(path):
        operation("remove", path)
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)


def sweep(folder: Path) -> list[str]:
    """Delete what killed writers left under temporary names in `folder`; return the names. Call under the folder's lock."""
    names = sorted(p.name for p in folder.iterdir() if p.name.startswith(".") and _TEMPORARY in p.name)
    for name in names:
        remove_tree(folder / name) if (folder / name).is_dir() else remove_file(folder / name)
    return names


def hash_file(path: Path) -> FileDigest:
    """Return the digest of a file as it is on disk. Raises FileNotFoundError and other OSErrors."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileDigest(sha256=digest.hexdigest(), size=size)
