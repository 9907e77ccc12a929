"""What a stage is: a small object that takes a document and returns it as it is, `Edited`, or a `Drop`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pipeline.documents import Document, Drop


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What a stage made of a document, and what the ledger has to know of it.

    `result` is a `Drop` when nothing is left. lost: the (row, reason) of each line taken; changed: rule → the rows it changed,
    each of them once, ascending.
    """

    result: Document | Drop
    lost: Sequence[tuple[int, str]] = ()
    changed: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Stage(Protocol):
    """One step on one document; no input or output of its own, no state."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that can change its outcome, for the recipe; ``name`` is one of the keys."""
        ...

    def __call__(self, document: Document) -> Document | Edited | Drop: ...


@runtime_checkable
class StageOfMany(Protocol):
    """A stage that takes many documents at once for less than it takes each alone."""

    def of_many(self, documents: Sequence[Document]) -> Sequence[Document | Edited | Drop]:
        """Return what the stage returns for each of the documents."""
        ...


def keep_lines(
    document: Document, lines: Sequence[str], lost: Sequence[tuple[int, str]], changed: Mapping[str, Sequence[int]] | None = None
) -> Edited:  # fmt: skip
    """Return a document of `lines`, one for each of its lines and empty where that line goes; `lost` says why, in order.

    changed: see `Edited`.
    """
    changed = changed or {}
    kept = [(line, row) for line, row in zip(lines, document.rows, strict=True) if line]
    if not kept:
        reasons = [reason for _, reason in lost]
        return Edited(result=Drop(reason=max(reasons, key=reasons.count)), lost=lost, changed=changed)
    texts, rows = zip(*kept, strict=True)
    return Edited(result=Document.of(texts, rows), lost=lost, changed=changed)
