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

    @classmethod
    def portions(cls, documents: Sequence[Document]) -> Iterator[TextBlock]:
        """Yield the documents as one block, or where they are long as several, of whole lines, however long a document is."""
        for group in _groups(documents):
            block = cls.of([document for _, document in group])
            numbers = np.array([number for number, _ in group], np.int64)
            yield cls(text=block.text, document=numbers[block.document], row=block.row)

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


def _groups(documents: Sequence[Document]) -> Iterator[list[tuple[int, Document]]]:
    """Yield documents or stretches of their lines, with their numbers, until each group is long enough."""
    group: list[tuple[int, Document]] = []
    characters = 0
    for number, document in enumerate(documents):
        for part in _stretches(document):
            group.append((number, part))
            characters += len(part.text)
            if characters >= PORTION_CHARACTERS:
                yield group
                group, characters = [], 0
    if group:
        yield group


def _stretches(document: Document) -> Iterator[Document]:
    text = document.text
    if len(text) <= PORTION_CHARACTERS:
        yield document
        return
    begin, line = 0, 0
    while begin < len(text):
        end = text.find("\n", begin + PORTION_CHARACTERS)
        part = text[begin : end if end >= 0 else len(text)]
        lines = part.count("\n") + 1
        yield Document(text=part, rows=document.rows[line : line + lines])
        begin, line = begin + len(part) + 1, line + lines
