"""What a WordPiece tokenizer makes of each single character, and a block of text as arrays.

A character is one of four kinds. A SPACE parts words and gives no token. PUNCTUATION and CJK characters (HAN) are words of one
token each, whatever stands beside them. All others are LETTERs: neighbouring ones form a word that is tokenized as a whole, in
context. LETTER is the safe answer for a character with anything unusual about it (combining marks, characters that vanish or
become several), because a word is handed to the tokenizer as it is.

No table of Unicode properties is kept here: each character is classified at its first occurrence by asking the tokenizer's own
normaliser and pre-tokenizer, so versions cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import EncodingError

if TYPE_CHECKING:
    import tokenizers

SPACE, LETTER, PUNCTUATION, HAN = range(4)
_UNSEEN = 255
_CODE_POINTS = 0x110000

Codes = NDArray[np.unsignedinteger[Any]]
Indices = NDArray[np.int64]


def code_points(text: str) -> Codes:
    """Return the code points of `text`, uint8 if all are ASCII, else uint16 or uint32.

    Raises EncodingError for a lone surrogate.
    """
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    try:
        data = text.encode("utf-16-le")
        if len(data) == 2 * len(text):
            return np.frombuffer(data, np.uint16)
        return np.frombuffer(text.encode("utf-32-le"), np.uint32)
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 10) : error.start]
        raise EncodingError(
            f"lone surrogate U+{ord(text[error.start]):04X} in the text after {around!r}",
            hint="Pass the text through clean_text first",
        ) from None


def look_up(table: NDArray[np.uint8], codes: Codes) -> NDArray[np.uint8]:
    """Return ``table[codes]``, writable, at the speed of bytes where text is ASCII for the most part.

    (`take` turns indexes into 64 bits first, eight times the memory of the text.)
    """
    if codes.dtype == np.uint8:
        return np.frombuffer(bytearray(codes.tobytes()).translate(table[:256].tobytes()), np.uint8)
    beyond = np.flatnonzero(codes >= 0x80)
    if len(beyond) * 4 > len(codes):
        found: NDArray[np.uint8] = table.take(codes)
        return found
    found = np.frombuffer(bytearray(codes.astype(np.uint8).tobytes()).translate(table[:256].tobytes()), np.uint8)
    found[beyond] = table.take(codes[beyond])
    return found


class CharacterClasses:
    """Kind and single-character id of every code point under one tokenizer, filled in as characters occur."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self._kinds = np.full(_CODE_POINTS, _UNSEEN, np.uint8)
        self.ids = np.zeros(_CODE_POINTS, np.int32)  # of PUNCTUATION and HAN only

    def kinds(self, codes: Codes) -> NDArray[np.uint8]:
        """Return the kind of each code point."""
        kinds = look_up(self._kinds, codes)
        unseen = kinds == _UNSEEN
        if unseen.any():
            for code in np.unique(codes[unseen]).tolist():
                self._kinds[code], self.ids[code] = self._classify(chr(code))
            kinds[unseen] = self._kinds.take(codes[unseen])
        return kinds

    def _classify(self, character: str) -> tuple[int, int]:
        normal = self._backend.normalizer.normalize_str(character)
        bare = normal.strip(" ")
        if normal and not bare:
            return SPACE, 0
        if len(bare) != 1:
            return LETTER, 0
        if normal == f" {bare} ":
            kind = HAN
        elif len(self._backend.pre_tokenizer.pre_tokenize_str(f"a{normal}a")) == 3:
            kind = PUNCTUATION
        else:
            return LETTER, 0
        ids = self._backend.encode(character, add_special_tokens=False).ids
        return (kind, ids[0]) if len(ids) == 1 else (LETTER, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """A block of text cut into cells: the characters and words that tokens come from.

    `codes`: the C code points. `at`: position of the first character of each of the N cells. `is_word`: which cells are words of
    letters, W of them. `begins`, `lengths`: int64[W], position of the first character of each word, and its characters.
    """

    codes: Codes
    at: Indices
    is_word: NDArray[np.bool_]
    begins: Indices
    lengths: Indices


def cut_cells(codes: Codes, classes: CharacterClasses) -> Cells:
    """Return the cells of a block of code points."""
    kinds = classes.kinds(codes)
    letter = kinds == LETTER
    # Finding places is what costs here, so each is found once: where cells begin, and where words end.
    first = kinds != SPACE
    first[1:] &= ~(letter[1:] & letter[:-1])
    last = letter.copy()
    last[:-1] &= ~letter[1:]
    at = np.flatnonzero(first)
    is_word = letter[at]
    begins = at[is_word]
    return Cells(codes=codes, at=at, is_word=is_word, begins=begins, lengths=np.flatnonzero(last) + 1 - begins)


def letters_of(codes: Codes, begins: Indices, lengths: Indices) -> Codes:
    """Return the characters of words, one word after another."""
    letters: Codes = codes.take(np.arange(int(lengths.sum())) + np.repeat(begins - (np.cumsum(lengths) - lengths), lengths))
    return letters


def distinct_words(codes: Codes, begins: Indices, lengths: Indices) -> tuple[list[str], NDArray[np.int32]]:
    """Return the different words of W, and for each of the W its index among them."""
    if not len(lengths):
        return [], np.zeros(0, np.int32)
    return distinct_strings(string_array(letters_of(codes, begins, lengths), lengths))


def string_array(letters: Codes, lengths: Indices) -> Any:
    """Return an Arrow array of strings from their characters, one after another, and their lengths in characters."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    if letters.dtype == np.uint8 or letters.max() < 0x80:
        data = letters.astype(np.uint8, copy=False).tobytes()
    else:
        data = letters.tobytes().decode("utf-16-le" if letters.dtype == np.uint16 else "utf-32-le").encode()
        extra = (letters >= 0x80).astype(np.int8)
        extra += letters >= 0x800
        if letters.dtype == np.uint32:
            extra += letters >= 0x10000
        more = np.zeros(len(letters) + 1, np.int64)
        np.cumsum(extra, out=more[1:])
        ends += more[ends]
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data))


def distinct_strings(array: Any) -> tuple[list[str], NDArray[np.int32]]:
    """Return the different strings of an Arrow array, and for each string its index among them.

    By the buffers: `to_pylist` makes a scalar object of each string first, and conversions by way of numpy import pandas, a
    quarter of a second, where there is one.
    """
    words = array.dictionary_encode()
    which: NDArray[np.int32] = np.frombuffer(words.indices.buffers()[1], np.int32)[: len(words)]
    return _list_of_strings(words.dictionary), which


def chosen_strings(array: Any, places: Indices) -> Any:
    """Return the strings of an Arrow array at the given places, as another one."""
    own = np.ascontiguousarray(places, np.int64)
    return array.take(pa.Array.from_buffers(pa.int64(), len(own), [None, pa.py_buffer(own)]))


def _list_of_strings(array: Any) -> list[str]:
    _, ends, data = array.buffers()
    if not len(array) or data is None:
        return [""] * len(array)
    places = np.frombuffer(ends, np.int32)[: len(array) + 1].tolist()
    raw = data.to_pybytes()
    if raw.isascii():
        text = raw.decode("ascii")
        return [text[begin:end] for begin, end in pairwise(places)]
    return [raw[begin:end].decode() for begin, end in pairwise(places)]
