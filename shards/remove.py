"""``python -m shards.remove NAME``: delete a data set, its manifest first, so that half of it is never taken for the whole."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from shards.cli import Outcome, new_parser, run
from shards.storage import is_url


def main(argv: Sequence[str] | None = None) -> int:
    parser = new_parser("shards.remove", "Delete a data set.")
    parser.add_argument("name", metavar="NAME", help="name of a data set below --root, its path, or its URL")
    parser.add_argument("--root", default="shards/", help="folder that holds the data sets")
    return run("shards.remove", parser, _remove, argv)


def _remove(options: argparse.Namespace) -> Outcome:
    from shards.durable import remove_file, remove_tree
    from shards.errors import NotFoundError, UsageError, unknown_name
    from shards.lock import exclusive, lock_path
    from shards.manifest import MANIFEST_NAME

    if is_url(options.name):
        return _remove_remote(options.name.rstrip("/"))
    root = Path(options.root)
    folder = Path(options.name) if (Path(options.name) / MANIFEST_NAME).is_file() else root / options.name
    if not (folder / MANIFEST_NAME).is_file() and not is_unfinished_build(folder):
        known = [p.parent.name for p in root.glob(f"*/{MANIFEST_NAME}")]
        if known:
            raise unknown_name("data set", options.name, known)
        raise NotFoundError("no data set of this name", where=folder)
    if folder.is_symlink():
        raise UsageError("is a link: remove what it points to by its own path", where=folder)
    with exclusive(lock_path(folder)):
        remove_file(folder / MANIFEST_NAME)
        remove_tree(folder)
    print(f"removed {folder}")
    return Outcome(outputs=(str(folder),))


def _remove_remote(url: str) -> Outcome:
    from shards.errors import NotFoundError
    from shards.manifest import MANIFEST_NAME
    from shards.remote_storage import RemoteStorage

    storage = RemoteStorage(url)
    names = storage.names()
    if MANIFEST_NAME not in names and not any(name.startswith(".build-") for name in names):
        raise NotFoundError("no data set at this address", where=url)
    with storage.exclusive():
        storage.remove(MANIFEST_NAME)
        storage.remove("")
    print(f"removed {url}")
    return Outcome(outputs=(url,))


def is_unfinished_build(folder: Path) -> bool:
    """Return whether a killed build left its work folder here."""
    return any(folder.glob(".build-*"))


if __name__ == "__main__":
    raise SystemExit(main())
