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
from pipeline.long_sentences import part_long_sentences
from pipeline.sentences import line_bounds, sentence_bounds

I64 = npt.NDArray[np.int64]
BLOCK_CHARACTERS = 1 << 19
PORTION_CHARACTERS = 1 << 21


@dataclass(frozen=True, kw_only=True, eq=False)
class Sentences:
    """S sentences, ``text[bounds[i] : bounds[i + 1]]``. bounds: int64[S + 1]; document, row: int64[S], those of its line."""

    text: str
    bounds: I64
    document: I64
    row: I64


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

    def portions(self) -> Iterator[TextBlock]:
        """Yield the block itself, or one that is long in portions of whole lines: a document may be as long as a unit."""
        if len(self.text) <= PORTION_CHARACTERS:
            yield self
            return
        lines = line_bounds(code_points(self.text))
        begin = 0
        while begin < len(self.row):
            end = max(begin + 1, int(np.searchsorted(lines, lines[begin] + PORTION_CHARACTERS, side="right")) - 1)
            text = self.text[int(lines[begin]) : int(lines[end])]
            yield TextBlock(text=text, document=self.document[begin:end], row=self.row[begin:end])
            begin = end

    def sentences(self, lang: str | None) -> Sentences:
        """Return the sentences; the lines where `lang` is None. Long ones are parted (`pipeline.long_sentences`)."""
        lines = line_bounds(code_points(self.text))
        bounds = lines if lang is None else sentence_bounds(self.text, lang)
        text, parted, sentence = part_long_sentences(self.text, bounds)
        line = sentence if lang is None else (np.searchsorted(lines, bounds[:-1], side="right") - 1)[sentence]
        return Sentences(text=text, bounds=parted, document=self.document[line], row=self.row[line])


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
