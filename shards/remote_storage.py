"""A data set in a store behind a URL (``s3://bucket/folder/name``, ``memory://name``), through fsspec.

An object appears whole or not at all, so every file is put once, under its final name; a store has no rename to rely on, and
needs none. The lock is an object that is created only if it is absent; on stores that cannot promise that, the build says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shards.durable import FileDigest, operation, remove_file, remove_tree
from shards.errors import LockedError, NotFoundError, StorageError
from shards.lock import describe, exclusive, this_process
from shards.manifest import MAX_MANIFEST_BYTES
from shards.storage import Staging
from shards.store import cache_root, connect, read_bounded, read_through, store_errors


class RemoteStorage:
    """See the module docstring; holds nothing but the URL, so that it can be sent to workers."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def where(self) -> str:
        return self.url

    def _place(self, name: str = "") -> tuple[Any, str]:
        fs, root = connect(self.url)
        return fs, f"{root}/{name}" if name else root

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        key = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        # Builds of this machine are kept apart by a lock that the kernel lets go of when its holder dies.
        with exclusive(cache_root() / "locks" / f"{key}.lock"), _lock_object(self.url):
            yield

    def prepare(self, folder: str = "") -> None:
        """Objects need no folder, and leave nothing half-written to clear."""

    def names(self, folder: str = "") -> list[str]:
        fs, path = self._place(folder)
        try:
            with store_errors("list", self.url):
                fs.invalidate_cache()
                found = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({name for entry in found if (name := str(entry).rstrip("/").rpartition("/")[2]) and name != path})

    def read(self, name: str) -> bytes:
        fs, path = self._place(name)
        return read_bounded(fs, path, MAX_MANIFEST_BYTES)

    def write(self, name: str, data: bytes, *, settled: bool = True) -> FileDigest:
        fs, path = self._place(name)
        operation("put", Path(name))
        with _missing_bucket(self.url), store_errors("write", f"{self.url}/{name}"):
            fs.pipe_file(path, data)
        return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def settle(self, names: Sequence[str]) -> None:
        """An object that was put is there for good."""

    def put(self, local: Path, name: str) -> None:
        """Store a file of this machine as the object `name`."""
        fs, path = self._place(name)
        operation("put", Path(name))
        with _missing_bucket(self.url), store_errors("write", f"{self.url}/{name}"):
            fs.put_file(str(local), path)

    def digest(self, name: str) -> FileDigest | None:
        fs, path = self._place(name)
        fs.invalidate_cache()
        return read_through(fs, path)

    def copy(self, old: str, new: str) -> None:
        fs, source = self._place(old)
        operation("copy", Path(new))
        with store_errors("copy", f"{self.url}/{old}"):
            fs.cp_file(source, self._place(new)[1])

    def remove(self, name: str) -> None:
        fs, path = self._place(name)
        operation("delete", Path(name))
        try:
            with store_errors("delete", f"{self.url}/{name}"):
                fs.invalidate_cache()
                fs.rm(path, recursive=True)
        except FileNotFoundError:
            return

    def staging(self) -> Staging:
        return RemoteStaging(self)

    def scratch(self, name: str) -> Path:
        return self._scratch_root() / name

    def clear_scratch(self) -> None:
        remove_tree(self._scratch_root())

    def _scratch_root(self) -> Path:
        return cache_root() / "builds" / hashlib.sha256(self.url.encode()).hexdigest()[:16]


class RemoteStaging:
    """A temporary folder that lives as long as this object; each file is put when it is published, then deleted here."""

    def __init__(self, storage: RemoteStorage) -> None:
        self._storage = storage
        self.path = Path(tempfile.mkdtemp(prefix="wordloom-"))
        self._cleaner = weakref.finalize(self, remove_tree, self.path)

    def fetch_folder(self, name: str) -> Path:
        target = self.path / name
        target.mkdir(exist_ok=True)
        for file in self._storage.names(name):
            (target / file).write_bytes(self._storage.read(f"{name}/{file}"))
        return target

    def publish(self, name: str) -> None:
        self._storage.put(self.path / name, name)
        remove_file(self.path / name)


@contextmanager
def _missing_bucket(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"cannot write: {error}", where=url, hint="Does the bucket exist?") from error


@contextmanager
def _lock_object(url: str) -> Iterator[None]:
    """Hold the object ``.<name>.lock`` beside the data set."""
    fs, root = connect(url)
    folder, _, name = root.rpartition("/")
    path = f"{folder}/.{name}.lock"
    mine = json.dumps(this_process() | {"token": os.urandom(8).hex()}).encode()
    with _missing_bucket(url):
        _create(fs, path, mine, url)
    # A store that ignores the condition would have let two builders write: what is there now tells whose lock it is.
    if (found := _read_lock(fs, path)) != mine:
        raise _locked(found, url, path)
    try:
        yield
    finally:
        with suppress(FileNotFoundError), store_errors("delete", path):
            fs.rm_file(path)


def _create(fs: Any, path: str, mine: bytes, url: str) -> None:
    try:
        with store_errors("create", path):
            fs.pipe_file(path, mine, mode="create")
        return
    except FileExistsError:
        pass
    except StorageError as error:
        if not isinstance(error.__cause__, (NotImplementedError, TypeError, ValueError)):
            raise
        print(f"{url}: this store cannot create an object only if it is absent: make sure that no other build writes there")
    found = _read_lock(fs, path)
    holder = _holder(found)
    if found and not _is_dead(holder):
        raise _locked(found, url, path)
    if found:
        print(f"took over the lock of a process that died: {describe(holder)}")
    with store_errors("write", path):
        fs.pipe_file(path, mine)


def _read_lock(fs: Any, path: str) -> bytes:
    try:
        return read_bounded(fs, path, 4096)
    except NotFoundError:
        return b""


def _holder(found: bytes) -> dict[str, object]:
    try:
        value = json.loads(found or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_dead(holder: dict[str, object]) -> bool:
    """Return whether the holder was a process of this machine that is no more; of other machines nobody can tell."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)  # signal 0 asks, and does nothing
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _locked(found: bytes, url: str, path: str) -> LockedError:
    hint = f"Wait for it to end; if nothing runs there any more, delete the object {path}"
    return LockedError(f"locked by {describe(_holder(found))}", where=url, hint=hint)
