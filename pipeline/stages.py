"""Stages: small objects that take a document and return it, changed or not, or a `Drop` that says why it is left out.

A recipe names its stages in order; `run_stages` puts each document through them and keeps the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.clean import clean_text
from pipeline.documents import Document, Drop, Ledger


class Stage(Protocol):
    """One step on one document; no input or output of its own, no state."""

    @property
    def name(self) -> str: ...

    def __call__(self, document: Document) -> Document | Drop: ...


@dataclass(frozen=True)
class Clean:
    """Clean every line; lines of which nothing is left go."""

    name: str = "clean"

    def __call__(self, document: Document) -> Document | Drop:
        cleaned = [(text, row) for line, row in zip(document.lines, document.rows, strict=True) if (text := clean_text(line))]
        if not cleaned:
            return Drop(reason="empty")
        lines, rows = zip(*cleaned, strict=True)
        return Document(lines=lines, rows=rows)


STAGES: tuple[Stage, ...] = (Clean(),)


def run_stages(documents: Iterable[Document], stages: Sequence[Stage], ledger: Ledger) -> Iterator[Document]:
    """Yield the documents that every stage lets through; account for the rest, and for rows that a stage took out."""
    for document in documents:
        result = _run(document, stages)
        if isinstance(result, Drop):
            ledger.drop_document(result.reason)
            ledger.drop_rows(set(document.rows), result.reason)
        else:
            if len(result.rows) != len(document.rows):
                ledger.drop_rows(set(document.rows) - set(result.rows), "empty")
            ledger.keep(result.distinct_rows)
            yield result


def _run(document: Document, stages: Sequence[Stage]) -> Document | Drop:
    for stage in stages:
        result = stage(document)
        if isinstance(result, Drop):
            return result
        document = result
    return document
