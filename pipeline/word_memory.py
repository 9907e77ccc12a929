"""What a WordPiece tokenizer makes of words, each of them tokenized once and remembered.

Words of up to eight ASCII characters, most of any text in Latin script, are looked up by their bytes as one number
(`pipeline.key_table`); the others by way of an Arrow dictionary. Both give a slot, and slots give pieces.

Legend: W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, Indices, chosen_strings, distinct_strings, string_array
from pipeline.growing import Growing
from pipeline.key_table import KeyTable
from pipeline.tokenizer_wordpiece import MAX_WORD_CHARACTERS, WordPieceTokenizer

_MAX_SLOTS, _MAX_CHARACTERS = 1 << 20, 1 << 24
_SHORT = 8  # bytes of a number
_HIGH_BITS = np.uint64(0x8080808080808080)


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
        self._short = KeyTable()
        self._slot_of_short = np.zeros(0, np.int64)
        self._slots: dict[str, int] = {}
        self._characters = 0
        self._ids, self._starts = Growing(np.int32), Growing(np.bool_)
        self._begins, self._counts = Growing(np.int64), Growing(np.int32)

    def look_up(self, letters: Codes, lengths: Indices) -> Pieces:
        """Return the pieces of W words, given their characters one after another and their lengths in characters, int64[W]."""
        if len(self._counts) > _MAX_SLOTS or self._characters > _MAX_CHARACTERS:
            self._clear()
        keys = _packed(letters, lengths)
        short = np.flatnonzero(keys)
        slots = np.empty(len(lengths), np.int64)
        slots[short] = self._short_slots(keys[short])
        if len(short) < len(lengths):
            self._fill_long(slots, letters, lengths, np.flatnonzero(keys == 0))
        return Pieces(
            ids=self._ids.values,
            starts=self._starts.values,
            begins=self._begins.values.take(slots),
            counts=self._counts.values.take(slots),
        )

    def _short_slots(self, keys: NDArray[np.uint64]) -> Indices:
        numbers = self._short.find(keys)
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            new = np.unique(keys[missing])
            words = [key.to_bytes(_SHORT, "little").rstrip(b"\0").decode("ascii") for key in new.tolist()]
            self._slot_of_short = np.concatenate([self._slot_of_short, self._learn(words)])
            self._short.add(new)
            numbers[missing] = self._short.find(keys[missing])
        return self._slot_of_short.take(numbers)

    def _fill_long(self, slots: Indices, letters: Codes, lengths: Indices, which: Indices) -> None:
        distinct, index = distinct_strings(chosen_strings(string_array(letters, lengths), which))
        known = self._slots
        new = [word for word in distinct if word not in known]
        known.update(zip(new, self._learn(new).tolist(), strict=True))
        slots[which] = np.array([known[word] for word in distinct], np.int64)[index]

    def _learn(self, words: list[str]) -> Indices:
        """Return new slots, with the pieces of different words."""
        first, at = len(self._counts), len(self._ids)
        whole, tokenize = self._vocab.get, self._model.tokenize
        pieces: Sequence[int]
        begins: Sequence[int]
        ids: list[int] = []
        starts: list[int] = []
        counts: list[int] = []
        for word in words:
            # ASCII letters and digits are one word, of which normalising lowers the case at most.
            if not (word.isascii() and word.isalnum()):
                pieces, begins = self._normalised(word)
            elif (id := whole(lowered := word.lower() if self._lowercase else word)) is not None:
                pieces, begins = (id,), (1,)
            else:
                pieces = [piece.id for piece in tokenize(lowered)]
                begins = [1] + [0] * (len(pieces) - 1)
            ids += pieces
            starts += begins
            counts.append(len(pieces))
        self._begins.extend(at + np.cumsum(counts, dtype=np.int64) - counts)
        self._counts.extend(counts)
        self._ids.extend(ids)
        self._starts.extend(starts)
        self._characters += sum(map(len, words))
        return np.arange(first, first + len(words))

    def _normalised(self, word: str) -> tuple[list[int], list[bool]]:
        encoding = self._backend.encode(word, add_special_tokens=False)
        parts = encoding.word_ids  # one number for each word that normalising has left or made
        return encoding.ids, [i == 0 or parts[i] != parts[i - 1] for i in range(len(parts))]


def _packed(letters: Codes, lengths: Indices) -> NDArray[np.uint64]:
    """Return each word of up to eight ASCII characters as a number, uint64[W]; 0 for the others."""
    if letters.dtype == np.uint8:
        narrow = letters
    else:
        narrow = letters.astype(np.uint8)
        narrow[letters >= 0x80] = 0xFF
    padded = np.concatenate([narrow, np.zeros(_SHORT, np.uint8)])
    begins = np.cumsum(lengths) - lengths
    # Every eight bytes, whatever they begin at, seen as a number: no copy, and one gather instead of eight.
    eights: NDArray[np.uint64] = np.ndarray(len(narrow) + 1, "<u8", padded, strides=(1,))
    keys: NDArray[np.uint64] = eights[begins]
    keys &= np.uint64(0xFFFFFFFFFFFFFFFF) >> ((_SHORT - np.minimum(lengths, _SHORT)) * 8).astype(np.uint64)
    keys[(lengths > _SHORT) | ((keys & _HIGH_BITS) != 0)] = 0
    if not narrow.all():  # a NUL inside a word would be taken for its end
        keys[np.add.reduceat(narrow == 0, begins) > 0] = 0
    return keys
