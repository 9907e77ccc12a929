"""Several documents as one text, so that each step works on long arrays; and the sentences of it.

Legend: L lines, S sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from pipeline.characters import code_points
from pipeline.documents import Document
from pipeline.sentences import line_bounds, sentence_bounds

I64 = npt.NDArray[np.int64]
BLOCK_CHARACTERS = 1 << 19


@dataclass(frozen=True, kw_only=True, eq=False)
class TextBlock:
    """The lines of some documents, each with its line feed. document, row: int64[L], the document and input row of each line."""

    text: str
    document: I64
    row: I64

    @classmethod
    def of(cls, documents: Sequence[Document]) -> TextBlock:
        lines = np.fromiter((len(document.rows) for document in documents), np.int64, len(documents))
        rows = chain.from_iterable(document.rows for document in documents)
        return cls(
            text="\n".join([document.text for document in documents]) + "\n",
            document=np.repeat(np.arange(len(documents)), lines),
            row=np.fromiter(rows, np.int64, int(lines.sum())),
        )

    def sentences(self, lang: str | None) -> tuple[I64, I64]:
        """Return bounds int64[S + 1] in characters and the line int64[S] of the sentences; of the lines where `lang` is None."""
        lines = line_bounds(code_points(self.text))
        if lang is None:
            return lines, np.arange(len(lines) - 1)
        bounds = sentence_bounds(self.text, lang)
        return bounds, np.searchsorted(lines, bounds[:-1], side="right") - 1


def batches(documents: Iterable[Document], least_characters: int = BLOCK_CHARACTERS) -> Iterator[list[Document]]:
    """Yield documents in batches of so many characters, the last one of fewer."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= least_characters:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
