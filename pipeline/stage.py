"""What a stage is: a small object that takes a document and returns it, changed or not, shortened, or a `Drop`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pipeline.documents import Document, Drop


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """What is left of a document from which a stage took lines, and the (row, reason) of each line taken.

    `result` is a `Drop` when nothing is left.
    """

    result: Document | Drop
    lost: Sequence[tuple[int, str]]


class Stage(Protocol):
    """One step on one document; no input or output of its own, no state."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that can change its outcome, for the recipe; ``name`` is one of the keys."""
        ...

    def __call__(self, document: Document) -> Document | Shortened | Drop: ...


@runtime_checkable
class StageOfMany(Protocol):
    """A stage that takes many documents at once for less than it takes each alone."""

    def of_many(self, documents: Sequence[Document]) -> Sequence[Document | Shortened | Drop]:
        """Return what the stage returns for each of the documents."""
        ...


def keep_lines(document: Document, lines: Sequence[str], lost: Sequence[tuple[int, str]]) -> Document | Shortened:
    """Return a document of `lines`, one for each of its lines and empty where that line goes; `lost` says why, in order."""
    kept = [(line, row) for line, row in zip(lines, document.rows, strict=True) if line]
    if not kept:
        reasons = [reason for _, reason in lost]
        return Shortened(result=Drop(reason=max(reasons, key=reasons.count)), lost=lost)
    texts, rows = zip(*kept, strict=True)
    result = Document.of(texts, rows)
    return Shortened(result=result, lost=lost) if lost else result
