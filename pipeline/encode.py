"""Text to token ids and word starts, a block of sentences at a time.

1. The sentences of a block are joined by newlines into one array of code points, and each is looked up (`pipeline.characters`).
2. CJK characters and punctuation marks are one token each: their ids are a table look-up.
3. The other words are gathered into one Arrow array; each distinct one is tokenized once and remembered.
4. The runs of Han of the block go to the segmenter as one string; its boundaries become the word starts of their tokens.

Ids equal those of `tokenizers`' BertWordPieceTokenizer with ``encode_special_tokens`` on, sentence by sentence (a property test
compares). Words, the units of whole-word masking: on runs of U+4E00..U+9FD5 the segmenter's words; every other CJK character,
every punctuation mark and every other word (with all its pieces) is one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import CharacterClasses, Codes, code_points, cut_cells
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.segment import Segmenter
from pipeline.tokenizer import CONTINUES, MAX_WORD_CHARACTERS, Tokenizer

# Large enough that numpy's cost per call does not count, small enough for the caches (about 100 bytes a character are in use).
_BLOCK_CHARACTERS = 1 << 18
_MAX_REMEMBERED_WORDS, _MAX_REMEMBERED_CHARACTERS = 1 << 20, 1 << 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Token ids and word starts of n sentences with T tokens.

    `ids` uint16[T] (uint32 when the vocabulary exceeds 65,535), `word_start` bool[T], `offsets` int64[n + 1]: sentence *i* is
    ``ids[offsets[i] : offsets[i + 1]]``. A sentence may have no tokens; the first token of one always begins a word.
    """

    ids: NDArray[Any]
    word_start: NDArray[np.bool_]
    offsets: NDArray[np.int64]


class Encoder:
    """Encodes sentences with one tokenizer and one segmenter. Not safe for use by several threads at once."""

    def __init__(self, tokenizer: Tokenizer, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._dtype: type[np.uint16] | type[np.uint32] = np.uint16 if tokenizer.vocab_size <= 65_535 else np.uint32
        self._classes = CharacterClasses(tokenizer.backend)
        self._pieces = _PieceMemory(tokenizer)

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Return ids, word starts and offsets of `sentences`; raises EncodingError for a lone surrogate.

        Memory beyond the result is bounded by blocks of about 262,144 characters (524,288 of ASCII), or one sentence if longer.
        """
        blocks, begin, size = [], 0, 0
        for end, sentence in enumerate(sentences):
            if size > _BLOCK_CHARACTERS:
                blocks.append(self._encode_block(sentences[begin:end]))
                begin, size = end, 0
            # English has fewer words to a character, and its distinct words are worth gathering from afar.
            size += (len(sentence) >> sentence.isascii()) + 1
        if size:
            blocks.append(self._encode_block(sentences[begin:]))
        offsets = np.zeros(len(sentences) + 1, np.int64)
        if not blocks:
            return Encoded(ids=np.zeros(0, self._dtype), word_start=np.zeros(0, np.bool_), offsets=offsets)
        np.cumsum(np.concatenate([lengths for _, _, lengths in blocks]), out=offsets[1:])
        return Encoded(
            ids=np.concatenate([ids for ids, _, _ in blocks]),
            word_start=np.concatenate([starts for _, starts, _ in blocks]),
            offsets=offsets,
        )

    def _encode_block(self, sentences: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int64]]:
        """Return ids, word starts and the number of tokens of each sentence."""
        codes = code_points("\n".join(sentences) + "\n")
        cells = cut_cells(codes, self._classes)
        at, is_word = cells.at, cells.is_word
        ids = self._classes.ids[codes[at]]
        starts = np.ones(len(at), np.bool_)
        if codes.dtype != np.uint8:
            self._mark_han(codes, at, starts)

        # tokens_before[i]: tokens of the cells before cell i.
        tokens_before = np.arange(len(at) + 1)
        if cells.distinct:
            pieces = self._pieces.look_up(cells.distinct)
            counts = np.ones(len(at), np.int64)
            per_word, piece_begins = pieces.counts[cells.which], pieces.begins[cells.which]
            counts[is_word] = per_word
            np.cumsum(counts, out=tokens_before[1:])
            total = int(per_word.sum())
            if total == len(per_word) and (per_word == 1).all():
                ids[is_word] = pieces.ids[piece_begins]
            else:
                ids, starts = np.repeat(ids, counts), np.repeat(starts, counts)
                place = tokens_before[:-1][is_word]
                within = np.arange(total) - np.repeat(np.cumsum(per_word) - per_word, per_word)
                target = np.repeat(place, per_word) + within
                source = np.repeat(piece_begins, per_word) + within
                ids[target] = pieces.ids[source]
                starts[target] = pieces.starts[source]

        sizes = np.fromiter(map(len, sentences), np.int64, len(sentences)) + 1
        bounds = tokens_before[np.searchsorted(at, np.cumsum(sizes))]
        return ids.astype(self._dtype), starts, np.diff(bounds, prepend=0)

    def _mark_han(self, codes: Codes, at: NDArray[np.int64], starts: NDArray[np.bool_]) -> None:
        """Set the word starts of the cells in runs of U+4E00..U+9FD5."""
        han = (codes >= FIRST_HAN) & (codes <= LAST_HAN)
        # One other character after each run stays, as the space that parts it from the next; a block ends with a newline.
        kept = han.copy()
        kept[1:] |= han[:-1]
        runs = codes[kept].astype(np.uint16)
        inside = han[kept]
        if not len(runs):
            return
        runs[~inside] = 0x20
        starts[han[at]] = self._segmenter.word_starts(runs.tobytes().decode("utf-16-le"))[inside]


class _Pieces(NamedTuple):
    """Pieces of W words: those of word *i* are ``ids[begins[i] : begins[i] + counts[i]]``, likewise `starts`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.bool_]
    begins: NDArray[np.int64]
    counts: NDArray[np.int32]


class _PieceMemory:
    """Words already tokenized: word to slot, and for each slot its pieces in flat arrays. Forgets everything when full."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._backend = tokenizer.backend
        self._vocab = {token: id for id, token in enumerate(tokenizer.vocab)}
        self._unk, self._lowercase = tokenizer.special_ids.unk, tokenizer.lowercase
        self._clear()

    def _clear(self) -> None:
        self._slots: dict[str, int] = {}
        self._characters = 0
        self._ids, self._starts = array("i"), array("b")
        self._begins, self._counts = array("q"), array("i")

    def look_up(self, words: list[str]) -> _Pieces:
        """Return the pieces of words. The arrays of `ids` and `starts` are views: drop them before the next call."""
        if len(self._slots) > _MAX_REMEMBERED_WORDS or self._characters > _MAX_REMEMBERED_CHARACTERS:
            self._clear()
        slots = [self._slots.get(word, -1) for word in words]
        if -1 in slots:
            slots = [self._learn(words[i]) if slot < 0 else slot for i, slot in enumerate(slots)]
        return _Pieces(
            ids=np.frombuffer(self._ids, np.int32),
            starts=np.frombuffer(self._starts, np.bool_),
            begins=np.frombuffer(self._begins, np.int64)[slots],
            counts=np.frombuffer(self._counts, np.int32)[slots],
        )

    def _learn(self, word: str) -> int:
        ids, starts = self._tokenize(word)
        slot = self._slots[word] = len(self._counts)
        self._begins.append(len(self._ids))
        self._counts.append(len(ids))
        self._ids.extend(ids)
        self._starts.extend(starts)
        self._characters += len(word)
        return slot

    def _tokenize(self, word: str) -> tuple[list[int], list[bool]]:
        if not (word.isascii() and word.isalnum()):
            encoding = self._backend.encode(word, add_special_tokens=False)
            parts = encoding.word_ids  # one number for each word that normalising has left or made
            return encoding.ids, [i == 0 or parts[i] != parts[i - 1] for i in range(len(parts))]
        # ASCII letters and digits: normalising is lower-casing, and the greedy match is quicker here than a call.
        ids = self._match(word.lower() if self._lowercase else word)
        return ids, [i == 0 for i in range(len(ids))]

    def _match(self, word: str) -> list[int]:
        whole = self._vocab.get(word)
        size = len(word)
        if size > MAX_WORD_CHARACTERS:
            return [self._unk]
        if whole is not None:
            return [whole]
        ids, begin, prefix = [], 0, ""
        while begin < size:
            for end in range(size, begin, -1):
                id = self._vocab.get(prefix + word[begin:end])
                if id is not None:
                    break
            else:
                return [self._unk]
            ids.append(id)
            begin, prefix = end, CONTINUES
        return ids
