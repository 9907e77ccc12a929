"""Which data sets a ``--shards`` path means: one set, or every committed set directly below a root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shards.errors import MismatchError, NotFoundError
from shards.manifest import MANIFEST_NAME
from shards.reader import DataSet
from shards.storage import is_url


def find_data_sets(path: str | Path, *, verify: bool = True, together: bool = True) -> list[DataSet]:
    """Return the data sets at `path`, sorted by name; `together`: to train on all of them.

    Raises NotFoundError when there is none, MismatchError when they are to go together and their tokenizers differ.
    """
    if is_url(path):
        return _remote(str(path), verify=verify, together=together)
    root = Path(path)
    if (root / MANIFEST_NAME).is_file():
        return [DataSet.open(root, verify=verify)]
    folders = sorted(p.parent for p in root.glob(f"*/{MANIFEST_NAME}")) if root.is_dir() else []
    return _open_all(root, folders, verify=verify, together=together)


def _remote(url: str, *, verify: bool, together: bool) -> list[DataSet]:
    from shards.remote import data_set_urls

    return _open_all(url, data_set_urls(url), verify=verify, together=together)


def _open_all(root: str | Path, places: Sequence[str | Path], *, verify: bool, together: bool) -> list[DataSet]:
    if not places:
        raise NotFoundError(
            "no data set here", where=root, expected=f"a {MANIFEST_NAME} in it or directly below it",
            hint="Build one first: python -m pipeline.build --corpus sample",
        )  # fmt: skip
    found = [DataSet.open(place, verify=verify) for place in places]
    for other in found[1:] if together else ():
        require_same_tokenizer(found[0], other)
    return found


def require_same_tokenizer(first: DataSet, other: DataSet) -> None:
    """Raise MismatchError, naming both, when two sets cannot be trained on together."""
    hashes = [s.manifest.tokenizer.hash for s in (first, other)]
    if hashes[0] != hashes[1]:
        raise MismatchError(
            f"data sets {first.name!r} and {other.name!r} have different tokenizers", where=first.path.parent,
            expected=f"{first.name}: {hashes[0][:16]}", got=f"{other.name}: {hashes[1][:16]}",
            hint=f"Choose one (--shards {first.path}), or build them with the same --tokenizer",
        )  # fmt: skip
