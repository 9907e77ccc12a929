"""Text to token ids and word starts, a block of sentences at a time.

1. The sentences of a block are joined by newlines into one array of code points, and each is looked up (`pipeline.characters`).
2. CJK characters and punctuation marks are one token each: their ids are a table look-up.
3. The other words are gathered into one Arrow array; each distinct one is tokenized once and remembered.
4. The runs of Han of the block go to the segmenter as one string; its boundaries become the word starts of their tokens.

Ids equal those of `tokenizers`' BertWordPieceTokenizer with ``encode_special_tokens`` on, sentence by sentence (a property test
compares). Words, the units of whole-word masking: on runs of U+4E00..U+9FD5 the segmenter's words; every other CJK character,
every punctuation mark and every other word (with all its pieces) is one. None begins inside a grapheme (`pipeline.graphemes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Cells, CharacterClasses, Codes, code_points, cut_cells, letters_of
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.encode_blocks import Block, Encoded, Indices, encode_blocks, id_type, join_sentences
from pipeline.graphemes import clear_inside, continuing
from pipeline.han_runs import han_runs
from pipeline.segment import Segmenter
from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from pipeline.word_memory import Pieces, WordMemory
from shards.reader import starts


class Encoder:
    """Encodes sentences with one tokenizer and one segmenter. Not safe for use by several threads at once."""

    def __init__(self, tokenizer: WordPieceTokenizer, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._dtype = id_type(tokenizer.vocab_size)
        self._classes = CharacterClasses(tokenizer.backend)
        self._words = WordMemory(tokenizer)
        self._unk = tokenizer.special_ids.unk
        self._tokenizer = tokenizer

    def encode(self, text: str, bounds: Indices) -> Encoded:
        """Return ids, word starts and offsets of the sentences of `text`; raises EncodingError for a lone surrogate.

        `bounds` int64[n + 1], ascending from 0 to the length of `text`: sentence *i* is ``text[bounds[i] : bounds[i + 1]]``,
        white space at its ends included. A bound lies where words are parted anyhow: at white space, or beside punctuation.
        """
        return encode_blocks(text, bounds, self._dtype, self._encode_block)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Return ids, word starts and offsets of sentences that each stand alone; see `encode`."""
        return self.encode(*join_sentences(sentences))

    def _encode_block(self, text: str, bounds: Indices, unknown: Counter[str]) -> Block:
        """Return ids, word starts and the number of tokens of each sentence; count unknown characters."""
        codes = code_points(text)
        cells = cut_cells(codes, self._classes)
        at, is_word = cells.at, cells.is_word
        ids = self._classes.ids.take(codes[at])
        begins_word = np.ones(len(at), np.bool_)
        if codes.dtype != np.uint8:
            self._mark_han(codes, at, begins_word)
            clear_inside(begins_word, at, continuing(codes, bounds))
        sentence_cells = np.searchsorted(at, bounds)
        if not len(cells.lengths):
            self._count_unknown(codes[at[ids == self._unk]], unknown)
            return ids, begins_word, np.diff(sentence_cells)

        pieces = self._words.look_up(codes, cells.begins, cells.lengths)
        word_cells = np.flatnonzero(is_word)
        self._count_unknown_words(cells, pieces, unknown)
        self._count_unknown(codes[at[(ids == self._unk) & ~is_word]], unknown)
        if len(pieces.counts) == int(pieces.counts.sum()) and (pieces.counts == 1).all():
            ids[word_cells] = pieces.ids.take(pieces.begins)
            return ids, begins_word, np.diff(sentence_cells)
        counts = np.ones(len(at), np.int64)
        counts[word_cells] = pieces.counts
        # tokens_before[i]: tokens of the cells before cell i.
        tokens_before = starts(counts)
        # The first token of every cell, then the others of the few words that have more; a word may have none.
        begins, per_word, first = pieces.begins, pieces.counts, tokens_before[:-1]
        if not per_word.all():
            some = per_word > 0
            word_cells, begins, per_word = word_cells[some], begins[some], per_word[some]
        ids[word_cells] = pieces.ids.take(begins)
        if len(begins) < len(pieces.begins):
            kept = counts > 0
            first, ids, begins_word = first[kept], ids[kept], begins_word[kept]
        tokens = int(tokens_before[-1])
        all_ids, all_starts = np.empty(tokens, np.int32), np.empty(tokens, np.bool_)
        all_ids[first], all_starts[first] = ids, begins_word
        several = np.flatnonzero(per_word > 1)
        more = per_word[several].astype(np.int64) - 1
        number = np.arange(1, int(more.sum()) + 1) - np.repeat(np.cumsum(more) - more, more)
        target = number + np.repeat(tokens_before[word_cells[several]], more)
        source = number + np.repeat(begins[several], more)
        all_ids[target], all_starts[target] = pieces.ids.take(source), pieces.starts.take(source)
        return all_ids, all_starts, np.diff(tokens_before.take(sentence_cells))

    def _count_unknown(self, codes: Codes, unknown: Counter[str]) -> None:
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            unknown[chr(code)] += int(count)

    def _count_unknown_words(self, cells: Cells, pieces: Pieces, unknown: Counter[str]) -> None:
        """Count the characters of unknown words that have no piece of their own; the word itself, should each have one."""
        single = np.flatnonzero(pieces.counts == 1)
        words = single[pieces.ids.take(pieces.begins[single]) == self._unk]
        if not len(words):
            return
        lengths = cells.lengths[words]
        letters = letters_of(cells.codes, cells.begins[words], lengths).astype(np.uint32).tobytes().decode("utf-32-le")
        for begin, end in pairwise(starts(lengths).tolist()):
            word = letters[begin:end]
            lacking = [c for c in word if not self._has_piece(c)]
            unknown.update(lacking or [word])

    def _has_piece(self, character: str) -> bool:
        plain = self._tokenizer.backend.normalizer.normalize_str(character).strip()
        return any(self._tokenizer.token_id(spelling) is not None for spelling in (plain, f"##{plain}"))

    def _mark_han(self, codes: Codes, at: NDArray[np.int64], starts: NDArray[np.bool_]) -> None:
        """Set the word starts of the cells in runs of U+4E00..U+9FD5."""
        han = (codes >= FIRST_HAN) & (codes <= LAST_HAN)
        runs, inside = han_runs(codes, han)
        if len(runs):
            starts[han[at]] = self._segmenter.word_starts(runs)[inside]
