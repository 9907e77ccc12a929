"""Which data sets a ``--shards`` path means: one set, or every committed set directly below a root."""

from __future__ import annotations

from pathlib import Path

from shards.errors import MismatchError, NotFoundError
from shards.manifest import MANIFEST_NAME
from shards.reader import DataSet


def find_data_sets(path: str | Path, *, verify: bool = True) -> list[DataSet]:
    """Return the data sets at `path`, sorted by name.

    Raises NotFoundError when there is none, MismatchError when their tokenizers or longest samples differ.
    """
    root = Path(path)
    if (root / MANIFEST_NAME).is_file():
        return [DataSet.open(root, verify=verify)]
    folders = sorted(p.parent for p in root.glob(f"*/{MANIFEST_NAME}")) if root.is_dir() else []
    if not folders:
        raise NotFoundError(
            "no data set here", where=root, expected=f"a {MANIFEST_NAME} in it or directly below it",
            hint="Build one first: python -m pipeline.build --corpus sample",
        )  # fmt: skip
    found = [DataSet.open(folder, verify=verify) for folder in folders]
    for other in found[1:]:
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
