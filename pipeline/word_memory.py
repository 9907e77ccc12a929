"""What a WordPiece tokenizer makes of words, each of them tokenized once and remembered.

Words of up to sixteen ASCII characters, nearly all of any text in Latin script, are looked up by their bytes as numbers
(`pipeline.slot_table`); the others by way of an Arrow dictionary. Both give a slot, and slots give pieces.

Legend: W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, Indices, code_points, distinct_words
from pipeline.graphemes import continuing
from pipeline.growing import Growing
from pipeline.slot_table import ROOM, SlotTable
from pipeline.tokenizer_wordpiece import MAX_WORD_CHARACTERS, WordPieceTokenizer

_MAX_SLOTS, _MAX_CHARACTERS = 1 << 20, 1 << 24
_NOT_ASCII = 0xFF


class Pieces(NamedTuple):
    """Pieces of W words: those of word *i* are ``ids[begins[i] : begins[i] + counts[i]]``, likewise `starts`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.bool_]
    begins: NDArray[np.int64]
    counts: NDArray[np.int32]


class WordMemory:
    """Words already tokenized. Forgets everything when full."""

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        self._backend = tokenizer.backend
        self._model = tokenizer.backend.model
        self._lowercase = tokenizer.lowercase
        self._vocab = {token: id for id, token in enumerate(tokenizer.vocab) if len(token) <= MAX_WORD_CHARACTERS}
        self._clear()

    def _clear(self) -> None:
        self._short = SlotTable(self._learn_ascii, ascii_only=True)
        self._slots: dict[str, int] = {}
        self._characters = 0
        self._ids, self._starts = Growing(np.int32), Growing(np.bool_)
        self._begins, self._counts = Growing(np.int64), Growing(np.int32)

    def look_up(self, codes: Codes, begins: Indices, lengths: Indices) -> Pieces:
        """Return the pieces of the W words ``codes[begins[i] : begins[i] + lengths[i]]``; both int64[W]."""
        if len(self._counts) > _MAX_SLOTS or self._characters > _MAX_CHARACTERS:
            self._clear()
        narrow = np.zeros(len(codes) + ROOM, np.uint8)
        np.minimum(codes, _NOT_ASCII, out=narrow[: len(codes)], casting="unsafe")
        slots, long = self._short.look_up(narrow, begins, lengths)
        if len(long):
            slots[long] = self._long_slots(codes, begins[long], lengths[long])
        return Pieces(
            ids=self._ids.values,
            starts=self._starts.values,
            begins=self._begins.values.take(slots),
            counts=self._counts.values.take(slots),
        )

    def _long_slots(self, codes: Codes, begins: Indices, lengths: Indices) -> Indices:
        distinct, index = distinct_words(codes, begins, lengths)
        known = self._slots
        new = [word for word in distinct if word not in known]
        if new:
            known.update(zip(new, self._learn(new).tolist(), strict=True))
        slots: Indices = np.array([known[word] for word in distinct], np.int64)[index]
        return slots

    def _learn_ascii(self, words: list[str]) -> Indices:
        """Return new slots, with the pieces of different words of ASCII characters."""
        if not all(map(str.isalnum, words)):
            return self._learn(words)
        # Letters and digits are one word, of which normalising lowers the case at most.
        lowered = list(map(str.lower, words)) if self._lowercase else words
        tokenize = self._model.tokenize
        pieces = [
            (id,) if id is not None else [piece.id for piece in tokenize(word)]
            for word, id in zip(lowered, map(self._vocab.get, lowered), strict=True)
        ]
        counts = np.array(list(map(len, pieces)), np.int64)
        starts = np.zeros(int(counts.sum()), np.bool_)
        starts[np.cumsum(counts) - counts] = True
        return self._store(list(chain.from_iterable(pieces)), starts, counts, words)

    def _learn(self, words: list[str]) -> Indices:
        """Return new slots, with the pieces of different words."""
        ids: list[int] = []
        starts: list[bool] = []
        counts: list[int] = []
        for word in words:
            if word.isascii() and word.isalnum():
                pieces = [piece.id for piece in self._model.tokenize(word.lower() if self._lowercase else word)]
                begins = [True] + [False] * (len(pieces) - 1)
            else:
                pieces, begins = self._normalised(word)
            ids += pieces
            starts += begins
            counts.append(len(pieces))
        return self._store(ids, np.array(starts, np.bool_), np.array(counts, np.int64), words)

    def _store(self, ids: list[int], starts: NDArray[np.bool_], counts: Indices, words: list[str]) -> Indices:
        first = len(self._counts)
        self._begins.extend(len(self._ids) + np.cumsum(counts) - counts)
        self._counts.extend(counts)
        self._ids.extend(ids)
        self._starts.extend(starts)
        self._characters += sum(map(len, words))
        return np.arange(first, first + len(words))

    def _normalised(self, word: str) -> tuple[list[int], list[bool]]:
        encoding = self._backend.encode(word, add_special_tokens=False)
        return encoding.ids, inner_starts(word, encoding.word_ids, [begin for begin, _ in encoding.offsets])


def inner_starts(text: str, words: Sequence[int | None], places: Sequence[int]) -> list[bool]:
    """Return which tokens of `text` begin a word, from the number of each one's word and the character that it begins with.

    Numbers are those of the words that normalising has left or made; none begins inside a grapheme.
    """
    starts = [i == 0 or words[i] != words[i - 1] for i in range(len(words))]
    if any(starts[1:]):
        inside = set(continuing(code_points(text), np.zeros(1, np.int64)).tolist())
        for i in range(1, len(starts)):
            starts[i] &= places[i] not in inside and places[i] != places[i - 1]
    return starts
