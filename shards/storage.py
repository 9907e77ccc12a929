"""Where a data set is written: a folder of this machine, or a place in a store behind a URL.

A build sees names below one data set and nothing of what lies under them. Whatever the storage, a name holds old bytes or new
ones, whole; the manifest is written last, and superseded names are deleted after it. Workers write their files to a folder of
their own machine and then publish them by name.

`LocalStorage` is the durable protocol of `shards.durable`; `shards.remote_storage` puts whole objects into a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from shards.durable import FileDigest, commit_bytes, hash_file, link_file, remove_file, remove_tree, settle, sweep
from shards.errors import NotFoundError, StorageError, UsageError
from shards.lock import exclusive, lock_path


class Staging(Protocol):
    """Where one process keeps files on their way to and from a data set."""

    @property
    def path(self) -> Path:
        """A folder of this machine to write files to."""
        ...

    def fetch_folder(self, name: str) -> Path:
        """Return a folder of this machine that holds the files stored below `name`."""
        ...

    def publish(self, name: str) -> None:
        """Make the file `name` of `path` part of the storage, under its name; it need not stay in `path`."""
        ...


class Storage(Protocol):
    """One data set's place. Names are plain, or ``folder/name``; all methods raise StorageError when the storage refuses."""

    @property
    def where(self) -> str:
        """The place, for people."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every other build of this data set out during the block. Raises LockedError, naming the holder."""
        ...

    def prepare(self, folder: str = "") -> None:
        """Make `folder` of the data set ready to be written, and clear what killed writers left in it."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Return the names of files and folders directly inside `folder`, sorted; none when it does not exist."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raises NotFoundError."""
        ...

    def write(self, name: str, data: bytes, *, settled: bool = True) -> FileDigest:
        """Store `data` as the whole of a file. Not `settled`: a power cut may break it or take it away."""
        ...

    def settle(self, names: Sequence[str]) -> None:
        """Make files that were published, or written unsettled, outlive a power cut."""
        ...

    def digest(self, name: str) -> FileDigest | None:
        """Hash a file as it is stored; None when there is none."""
        ...

    def copy(self, old: str, new: str) -> None:
        """Give the bytes of the file `old` the name `new` as well."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, or a folder with all in it, if it is there; the empty name is the data set's own folder."""
        ...

    def staging(self) -> Staging: ...

    def scratch(self, name: str) -> Path:
        """Return the absolute path of a folder of the driver's machine for what a stopped build should find again.

        Workers of one machine see it; those of a cluster do where the nodes share that file system.
        """
        ...

    def clear_scratch(self) -> None:
        """Delete the scratch folders that do not lie inside the data set."""
        ...


class LocalStorage:
    """A folder of this machine, or of a file system that it shares with others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[type[LocalStorage], tuple[Path]]:
        """Go to workers by absolute path: their working directory is another one on a cluster."""
        return LocalStorage, (self.folder.absolute(),)

    @property
    def where(self) -> str:
        return str(self.folder)

    def exclusive(self) -> AbstractContextManager[None]:
        return exclusive(lock_path(self.folder))

    def prepare(self, folder: str = "") -> None:
        path = self.folder / folder
        path.mkdir(parents=True, exist_ok=True)
        sweep(path)

    def names(self, folder: str = "") -> list[str]:
        path = self.folder / folder
        return sorted(p.name for p in path.iterdir()) if path.is_dir() else []

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError("no such file", where=self.folder / name) from None

    def write(self, name: str, data: bytes, *, settled: bool = True) -> FileDigest:
        return commit_bytes(self.folder / name, data, settled=settled)

    def settle(self, names: Sequence[str]) -> None:
        settle(self.folder, names)

    def digest(self, name: str) -> FileDigest | None:
        try:
            return hash_file(self.folder / name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def copy(self, old: str, new: str) -> None:
        link_file(self.folder / old, self.folder / new)

    def remove(self, name: str) -> None:
        path = self.folder / name
        remove_tree(path) if path.is_dir() and not path.is_symlink() else remove_file(path)

    def staging(self) -> Staging:
        return LocalStaging(self.folder)

    def scratch(self, name: str) -> Path:
        return (self.folder / name).absolute()

    def clear_scratch(self) -> None:
        """All of it lies inside the data set, and goes with the build's other leavings."""


class LocalStaging:
    """The folder itself: what is committed in it is published."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fetch_folder(self, name: str) -> Path:
        if not (self.path / name).is_dir():
            raise StorageError(
                "this worker does not see the folder", where=self.path / name,
                hint="On a cluster --out must be a folder that all nodes share, or a URL",
            )  # fmt: skip
        return self.path / name

    def publish(self, name: str) -> None:
        """It is where it belongs already."""


def is_url(path: object) -> bool:
    """Return whether a path names a place in a store rather than on this machine."""
    return "://" in str(path)


def storage_at(root: str, name: str) -> Storage:
    """Return the storage of data set `name` below a folder or URL. Raises UsageError for a URL that cannot be used."""
    if root.startswith(("file://", "local://")):
        root = root.split("://", 1)[1]
    if not is_url(root):
        return LocalStorage(Path(root) / name)
    from shards.remote_storage import RemoteStorage

    if not root.split("://", 1)[1].strip("/") and not root.startswith("memory://"):
        raise UsageError("names no bucket", where=root, hint="Give the whole of it, as in s3://bucket/folder")
    return RemoteStorage(f"{root.rstrip('/')}/{name}" if not root.endswith("://") else f"{root}{name}")
