"""RoFormer's word tokens and word starts, a block of sentences at a time; ids equal `RoFormerWordTokenizer.encode`.

A block is cut into cells, strings that are tokenized each alone; each distinct one is tokenized once and remembered:

1. A word of Han, as the tokenizer's own segmentation cuts it (jieba without its model of unknown words): a token, or one for each
   character where the vocabulary lacks the word.
2. A mark: what BERT's pre-tokenizer or the tokenizer parts from its neighbours in any case. So is any other CJK character.
3. A run of what is left, letters and digits for the most part. Of those jieba leaves a run of ASCII letters and digits whole, and
   makes a word of every other character.
4. Stretches in which jieba would look across these borders (``X光``, ``T恤``, ``C++``), or that hold characters which cleaning
   takes out, are few, and tokenized by the tokenizer itself: up to the next character that jieba takes for no part of a word.

Words, the units of whole-word masking, come from the recipe's segmenter, tokens from the tokenizer's: a token of Han begins a
word when a word begins at or inside it. So a token across several words begins one, and the rest of a word that begins inside a
token belongs to that token's word. Any other token begins a word where BERT's pre-tokenizer has parted it from the one before,
but not inside a grapheme (`pipeline.graphemes`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, code_points
from pipeline.encode_blocks import (
    Block,
    Encoded,
    Indices,
    byte_places,
    encode_blocks,
    id_type,
    join_sentences,
    word_flags,
)
from pipeline.graphemes import clear_inside, continuing
from pipeline.han_runs import Flags, han_runs
from pipeline.jieba_borders import INNER_MARKS, JiebaBorders
from pipeline.kind_table import KindTable
from pipeline.piece_memory import Learnt, PieceMemory
from pipeline.segment import NumpySegmenter, Segmenter
from pipeline.tokenizer_roformer_word import RoFormerWordTokenizer, is_cjk, is_removed, is_space, is_symbol
from pipeline.tokenizer_wordpiece import MAX_WORD_CHARACTERS
from pipeline.word_memory import inner_starts

_SPACE, _MARK, _INNER_MARK, _RUN, _CJK, _REMOVED = 0, 1, 2, 3, 4, 5
# What goes with each token: the number of its characters if of Han, else whether it begins a word.
_BEGINS, _GOES_ON = -1, 0
_JIEBA_WORD = re.compile("[a-zA-Z0-9]+|.", re.DOTALL)  # outside Han, but for the words of its dictionary


class WordEncoder:
    """Encodes sentences with a RoFormer word vocabulary. Not safe for use by several threads at once."""

    def __init__(self, tokenizer: RoFormerWordTokenizer, segmenter: Segmenter) -> None:
        self._tokenizer, self._segmenter = tokenizer, segmenter
        self._own = NumpySegmenter(hmm=False)
        self._dtype = id_type(tokenizer.vocab_size)
        self._unk = tokenizer.special_ids.unk
        self._kinds = KindTable(self._kind)
        self._vocab = {token: id for id, token in enumerate(tokenizer.vocab)}
        self._backend = tokenizer.wordpiece.backend
        self._pieces = PieceMemory(self._tokenize)
        self._borders = JiebaBorders()

    def encode(self, text: str, bounds: NDArray[np.int64]) -> Encoded:
        """Return ids, word starts and offsets of the sentences of `text`; see `pipeline.encode.Encoder.encode`."""
        return encode_blocks(text, bounds, self._dtype, self._encode_block)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Return ids, word starts and offsets of sentences that each stand alone."""
        return self.encode(*join_sentences(sentences))

    def _tokenize(self, cells: list[str]) -> Learnt:
        ids: list[int] = []
        marks: list[int] = []
        counts: list[int] = []
        known, tokenize, lowercase = self._vocab.get, self._backend.model.tokenize, self._tokenizer.lowercase
        found: Sequence[int]
        for cell in cells:
            if "\u4e00" <= cell[0] <= "\u9fd5":
                found, sizes = self._tokens_of_han(cell)
            elif not (cell.isascii() and cell.isalnum()):
                found, sizes = self._tokens_of_other(cell)
            else:  # one word, of which normalising lowers the case at most
                word = cell.lower() if lowercase else cell
                id = known(word) if len(word) <= MAX_WORD_CHARACTERS else None
                found = [piece.id for piece in tokenize(word)] if id is None else (id,)
                sizes = [_BEGINS] + [_GOES_ON] * (len(found) - 1)
            ids += found
            marks += sizes
            counts.append(len(found))
        return Learnt(ids=ids, marks=marks, counts=counts)

    def _tokens_of_han(self, word: str) -> tuple[list[int], list[int]]:
        id = self._vocab.get(word)
        if id is not None:
            return [id], [len(word)]
        return [self._vocab.get(character, self._unk) for character in word], [1] * len(word)

    def _tokens_of_other(self, cell: str) -> tuple[list[int], list[int]]:
        """Return the tokens of a mark, of a CJK character outside Han, or of a run with more in it than ASCII."""
        if len(cell) == 1 and is_cjk(cell) and cell in self._vocab:  # as it is, where BERT would normalise it
            return [self._vocab[cell]], [_BEGINS]
        spaced = self._spaced(cell)
        found = self._backend.encode(spaced, add_special_tokens=False)
        places = [begin - spaced.count(" ", 0, begin) for begin, _ in found.offsets]
        return found.ids, [_BEGINS if starts else _GOES_ON for starts in inner_starts(cell, found.word_ids, places)]

    def _spaced(self, cell: str) -> str:
        """Return a cell as it goes to WordPiece: a word of the vocabulary is parted from what stands beside it."""
        return "".join([f" {word} " if word in self._vocab else word for word in _JIEBA_WORD.findall(cell)])

    def _kind(self, character: str) -> int:
        if is_removed(character):
            return _REMOVED
        if is_space(character):
            return _SPACE
        if is_cjk(character):
            return _CJK
        if character in INNER_MARKS:
            return _INNER_MARK
        if is_symbol(character):
            return _MARK
        plain = self._backend.normalizer.normalize_str(character)
        alone = len(plain) == 1 and len(self._backend.pre_tokenizer.pre_tokenize_str(f"a{plain}a")) == 3
        return _MARK if alone else _RUN

    def _encode_block(self, text: str, bounds: Indices, unknown: Counter[str]) -> Block:
        codes = code_points(text)
        kinds = self._kinds.of(codes)
        han, begins = word_flags(codes, self._segmenter)
        hard = self._borders.stretches(codes, kinds <= _MARK, kinds == _REMOVED, bounds)
        for first, last in hard:
            kinds[first:last] = _SPACE
        place, ids, starts = self._cells(text, codes, kinds, bounds, han, begins, unknown)
        if hard:
            parts = [self._whole_stretch(text, begins, han, first, last, unknown) for first, last in hard]
            place, ids, starts = (np.concatenate(arrays) for arrays in zip((place, ids, starts), *parts, strict=True))
            order = np.argsort(place, kind="stable")  # pieces of one place keep their order
            place, ids, starts = place[order], ids[order], starts[order]
        clear_inside(starts, place, continuing(codes, bounds))
        return ids, starts, np.diff(np.searchsorted(place, bounds))

    def _whole_stretch(
        self, text: str, begins: Flags, han: Flags, first: int, last: int, unknown: Counter[str]
    ) -> tuple[Indices, NDArray[np.int32], Flags]:
        pieces = self._tokenizer.pieces(text[first:last])
        starts = []
        before = -1
        for piece in pieces:
            inside = slice(first + piece.begin, first + piece.end)
            starts.append(bool(begins[inside].any()) if han[inside].any() else piece.begins and piece.begin > before)
            before = piece.begin
            if piece.id == self._unk:
                unknown.update(self._lacking(text[inside]))
        if starts:
            starts[0] = True
        place = [first + piece.begin for piece in pieces]
        return np.array(place, np.int64), np.array([piece.id for piece in pieces], np.int32), np.array(starts, np.bool_)

    def _cells(
        self, text: str, codes: Codes, kinds: NDArray[np.uint8], bounds: Indices, han: Flags, begins: Flags, unknown: Counter[str]
    ) -> tuple[Indices, NDArray[np.int32], Flags]:
        """Return place, id and word start of the tokens of all cells."""
        solid = kinds != _SPACE
        run = kinds == _RUN
        first = solid & ~run
        first[0] |= run[0]
        first[1:] |= run[1:] & ~run[:-1]
        if han.any():
            runs, inside = han_runs(codes, han)
            first[han] = self._own.word_starts(runs)[inside]
            first &= solid
        border = bounds[:-1][bounds[:-1] < len(codes)]
        first[border] = solid[border]  # sentences may touch
        cut = first.copy()  # also behind the end of a cell
        cut[1:] |= solid[:-1] & ~solid[1:]
        cuts = np.append(np.flatnonzero(cut), len(codes))
        wanted = first[cuts[:-1]]
        at = cuts[:-1][wanted]
        if not len(at):
            return at, np.zeros(0, np.int32), np.zeros(0, np.bool_)
        edges = byte_places(codes).take(cuts)
        found = self._pieces.look_up(text.encode(), edges[:-1][wanted], edges[1:][wanted])

        # Each token's first character: that of its cell, and those of the tokens before it there.
        marks = found.marks_of(slice(None))
        sizes = np.maximum(marks, 0)
        before = np.cumsum(sizes, dtype=np.int64) - sizes
        last = np.cumsum(found.counts)
        place = np.repeat(at, found.counts)
        some = found.counts > 0
        place += before - np.repeat(before[(last - found.counts)[some]], found.counts[some])
        starts = marks == _BEGINS
        if han.any():
            words = np.zeros(len(codes) + 1, np.int32)
            np.cumsum(begins, out=words[1:])
            starts |= words.take(place + sizes) > words.take(place)
        lacking = np.flatnonzero(found.ids == self._unk)
        if len(lacking):
            single = sizes[lacking] > 0  # of Han, one character each
            times = np.bincount(codes[place[lacking[single]]])
            unknown.update({chr(code): int(times[code]) for code in np.flatnonzero(times).tolist()})
            cells = np.unique(np.searchsorted(last, lacking[~single], side="right"))
            ends = cuts[1:][wanted][cells]
            self._count_unknown(Counter([text[a:b] for a, b in zip(at[cells].tolist(), ends.tolist(), strict=True)]), unknown)
        return place, found.ids, starts

    def _count_unknown(self, cells: Counter[str], unknown: Counter[str]) -> None:
        """Count the characters of cells without Han of which a token is unknown."""
        for cell, count in cells.items():
            spaced = self._spaced(cell)
            found = self._backend.encode(spaced, add_special_tokens=False)
            for id, (begin, end) in zip(found.ids, found.offsets, strict=True):
                if id == self._unk:
                    for character in self._lacking(spaced[begin:end]):
                        unknown[character] += count

    def _lacking(self, word: str) -> list[str]:
        """Return the characters of an unknown word that have no piece of their own; the word itself, should each have one."""
        return [character for character in word if not self._has_piece(character)] or [word]

    def _has_piece(self, character: str) -> bool:
        plain = self._backend.normalizer.normalize_str(character).strip()
        return plain in self._vocab or f"##{plain}" in self._vocab
