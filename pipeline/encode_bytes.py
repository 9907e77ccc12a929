"""Byte-level BPE tokens and word starts, a block of sentences at a time; ids equal `ByteBpeTokenizer.encode` of each sentence.

1. The text is cut into pre-tokens as GPT-2's pattern cuts it, by arrays: each character is a letter, a number, white space or a
   mark, and a pre-token ends where the class changes; a space goes with what follows, contractions (``'s``) stand alone.
2. A pre-token is cut between characters that no merge can join (`pipeline.byte_borders`), so that Han falls apart into single
   characters; each distinct piece is merged once by the library and remembered. White space at the ends of a sentence gives none.
3. Words are marked on bytes, and a token begins a word when a word begins at or inside its bytes, unless the token itself begins
   inside a grapheme (`pipeline.graphemes`), such as a character of several tokens.

Words, the units of whole-word masking: a pre-token with all its tokens; inside one, the segmenter's words on runs of
U+4E00..U+9FD5, every other CJK character, and what follows them. The space before a word belongs to it. A word of more than 64
bytes that are not all ASCII, a row of emoji or a run of letters in a script without spaces, is parted between graphemes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.byte_borders import ByteBorders
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
from pipeline.graphemes import continuing
from pipeline.han_runs import Flags
from pipeline.kind_table import KindTable
from pipeline.piece_memory import Learnt, PieceMemory
from pipeline.segment import Segmenter
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer
from pipeline.tokenizer_roformer_word import is_cjk
from shards.reader import gather_index

_MARK, _LETTER, _NUMBER, _SPACE = 0, 1, 2, 3
_CJK = 4  # a letter that is a word of its own
_CONTRACTIONS = ("s", "t", "re", "ve", "m", "ll", "d")
_MAX_WORD_BYTES = 64


class ByteEncoder:
    """Encodes sentences with byte-level BPE. Not safe for use by several threads at once."""

    def __init__(self, tokenizer: ByteBpeTokenizer, segmenter: Segmenter) -> None:
        self._tokenizer, self._segmenter = tokenizer, segmenter
        self._dtype = id_type(tokenizer.vocab_size)
        self._kinds = KindTable(self._kind)
        self._pre_tokenizer, self._model = tokenizer.backend.pre_tokenizer, tokenizer.backend.model
        self._borders = ByteBorders(tokenizer.merges_between_characters())
        # One character a byte, and a space for 0xFF, which no UTF-8 holds.
        self._spelling = np.array([ord(c) for c in tokenizer.spelled(bytes(range(0xFF)))] + [0x20], np.uint16)
        self._sizes = np.array([len(token) for token in tokenizer.vocab], np.int32)  # bytes of each token
        self._pieces = PieceMemory(self._tokenize)

    def encode(self, text: str, bounds: NDArray[np.int64]) -> Encoded:
        """Return ids, word starts and offsets of the sentences of `text`; see `pipeline.encode.Encoder.encode`.

        White space at the ends of a sentence gives no token.
        """
        return encode_blocks(text, bounds, self._dtype, self._encode_block)

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded:
        """Return ids, word starts and offsets of sentences that each stand alone."""
        return self.encode(*join_sentences(sentences))

    def _tokenize(self, pieces: list[str]) -> Learnt:
        """Return ids, and the number of bytes of each."""
        data = b"\xff".join([piece.encode() for piece in pieces])
        spelled = self._spelling.take(np.frombuffer(data, np.uint8)).tobytes().decode("utf-16-le").split(" ")
        merge = self._model.tokenize
        ids: list[int] = []
        counts: list[int] = []
        for piece in spelled:
            found = [token.id for token in merge(piece)]
            ids += found
            counts.append(len(found))
        return Learnt(ids=ids, marks=self._sizes.take(ids), counts=counts)

    def _kind(self, character: str) -> int:
        """Ask the pre-tokenizer itself: neighbours of one class stay together."""
        cut = self._pre_tokenizer.pre_tokenize_str
        if len(cut(f"a{character}")) == 1:
            return _CJK if is_cjk(character) else _LETTER
        if len(cut(f"1{character}")) == 1:
            return _NUMBER
        return _MARK if len(cut(f"!{character}")) == 1 else _SPACE

    def _encode_block(self, text: str, bounds: Indices, unknown: Counter[str]) -> Block:
        """Encode a block; nothing is ever unknown."""
        codes = code_points(text)
        kinds = self._kinds.of(codes)
        cjk = kinds == _CJK
        kinds[cjk] = _LETTER
        outside = _margins(kinds != _SPACE, bounds)
        if outside.all():
            return np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(len(bounds) - 1, np.int64)
        first = _pre_tokens(codes, kinds, outside, bounds)
        data, byte_at = text.encode(), byte_places(codes)
        cuts = np.append(np.flatnonzero(self._cut_apart(data, codes, byte_at, first)), len(codes))
        wanted = ~outside[cuts[:-1]]
        begins, ends = cuts[:-1][wanted], cuts[1:][wanted]
        found = self._pieces.look_up(data, byte_at.take(begins), byte_at.take(ends))
        tokens_before = np.zeros(len(begins) + 1, np.int64)
        np.cumsum(found.counts, out=tokens_before[1:])

        words = self._word_flags(codes, kinds, cjk, first)
        inside = continuing(codes, bounds)
        words[inside] = False
        if codes.dtype != np.uint8:
            _part_long_words(words, byte_at, inside)
        starts = np.zeros(len(found.ids), np.bool_)
        starts[tokens_before[:-1]] = words[begins]
        words_before = np.zeros(len(codes) + 1, np.int32)
        np.cumsum(words, out=words_before[1:])
        inner = np.flatnonzero(words_before.take(ends) > words_before.take(begins + 1))
        if len(inner):
            tokens, bounds_of_pieces = gather_index(tokens_before, inner)
            sizes = found.marks_of(tokens).astype(np.int64)
            first_bytes = _first_bytes(byte_at[begins[inner]], sizes, bounds_of_pieces)
            held = np.flatnonzero(_hold_any(byte_at[:-1][words], first_bytes, sizes))
            starts[tokens[held]] = _begin_graphemes(first_bytes[held], byte_at, inside)
        return found.ids, starts, np.diff(tokens_before.take(np.searchsorted(begins, bounds)))

    def _cut_apart(self, data: bytes, codes: Codes, byte_at: Indices, first: Flags) -> Flags:
        """Return the characters that begin a piece: a pre-token, or what no merge joins to the character before."""
        if codes.dtype == np.uint8:
            return first
        wide = codes >= 0x80
        inside = ~first
        inside[1:] &= wide[1:] | wide[:-1]
        inside[0] = False
        apart = first.copy()
        apart[self._borders.cuts(np.frombuffer(data, np.uint8), codes, byte_at, np.flatnonzero(inside))] = True
        return apart

    def _word_flags(self, codes: Codes, kinds: NDArray[np.uint8], cjk: Flags, first: Flags) -> Flags:
        """Return the characters that begin a word."""
        han, begins = word_flags(codes, self._segmenter)
        words = first | begins | (cjk & ~han)
        words[1:] |= cjk[:-1] & ~(han[:-1] & han[1:])  # what follows Han, and Han that follows other CJK
        # The space in front of a word is its first character.
        led = first[:-1] & (codes[:-1] == 0x20) & ~first[1:] & (kinds[1:] != _SPACE)
        words[1:][led] = False
        return words


def _part_long_words(words: Flags, byte_at: Indices, inside: Indices) -> None:
    """Let words begin where those of more than `_MAX_WORD_BYTES` are parted: at most so far apart, at no character `inside`."""
    edges = np.append(np.flatnonzero(words), len(words))
    sizes = np.diff(byte_at.take(edges))
    long = np.flatnonzero((sizes > _MAX_WORD_BYTES) & (sizes > np.diff(edges)))
    for begin, end in zip(edges[long].tolist(), edges[long + 1].tolist(), strict=True):
        places = np.delete(np.arange(begin, end), inside[slice(*np.searchsorted(inside, (begin, end)))] - begin)
        at = byte_at.take(places)
        place = 0
        while byte_at[end] - at[place] > _MAX_WORD_BYTES and place + 1 < len(places):
            place = max(int(np.searchsorted(at, at[place] + _MAX_WORD_BYTES, side="right")) - 1, place + 1)
            words[places[place]] = True


def _first_bytes(begins: Indices, sizes: Indices, bounds: Indices) -> Indices:
    """Return the first byte of each token.

    Piece *i* begins at byte ``begins[i]`` and has the tokens ``bounds[i]`` to ``bounds[i + 1]``, of `sizes` bytes.
    """
    before = np.cumsum(sizes) - sizes
    first: Indices = before + np.repeat(begins - before[bounds[:-1]], np.diff(bounds))
    return first


def _hold_any(words: Indices, first_bytes: Indices, sizes: Indices) -> Flags:
    """Return which tokens hold one of the bytes at which `words` begin."""
    holds: Flags = np.searchsorted(words, first_bytes + sizes) > np.searchsorted(words, first_bytes)
    return holds


def _begin_graphemes(first_bytes: Indices, byte_at: Indices, inside: Indices) -> Flags:
    """Return which of the bytes are the first of a character, and of one that goes on with no other (is not `inside`)."""
    character = np.searchsorted(byte_at, first_bytes)
    whole: Flags = (byte_at.take(character) == first_bytes) & ~np.isin(character, inside)
    return whole


def _margins(solid: Flags, bounds: Indices) -> Flags:
    """Return the characters before the first and behind the last solid one of each sentence."""
    size = len(solid)
    places = np.flatnonzero(solid)
    depth = np.zeros(size + 1, np.int64)
    if len(places):
        low, high = np.searchsorted(places, bounds[:-1]), np.searchsorted(places, bounds[1:])
        some = high > low
        depth[places[low[some]]] += 1
        depth[places[high[some] - 1] + 1] -= 1
    outside: Flags = np.cumsum(depth[:-1]) == 0
    return outside


def _pre_tokens(codes: Codes, kinds: NDArray[np.uint8], outside: Flags, bounds: Indices) -> Flags:
    """Return the characters that begin a pre-token. Margins (`outside`) are cut off; what they hold is of no account.

    GPT-2's pattern: ``'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+``.
    """
    first = np.ones(len(codes), np.bool_)
    changed = kinds[1:] != kinds[:-1]
    edge = outside[1:] != outside[:-1]
    first[1:] = changed | edge
    border = np.zeros(len(codes) + 1, np.bool_)  # the first character of each sentence; sentences may touch
    border[bounds] = True
    first |= border[:-1]
    space = (kinds == _SPACE) & ~outside
    # Of white space before something solid, the last character is cut off: it goes with what follows, or stands alone.
    last = space.copy()
    last[:-1] &= ~space[1:]
    first |= last
    led = np.flatnonzero(last[:-1] & (codes[:-1] == 0x20) & ~outside[1:]) + 1
    first[led] = False
    # A quote at the beginning of a pre-token, with the letters of a contraction behind it.
    quotes = np.flatnonzero(first & (codes == 0x27) & ~outside)
    for ending in _CONTRACTIONS:
        fits = quotes[quotes + len(ending) < len(codes)]
        for step, letter in enumerate(ending, 1):
            fits = fits[(codes[fits + step] == ord(letter)) & ~border[fits + step]]
        first[fits + 1] = False
        behind = fits + len(ending) + 1
        first[behind[behind < len(codes)]] = True
    return first
