"""What the encoders of all kinds share: blocks of sentences, flags of words in Han runs, strings cut from a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.characters import Codes
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.han_runs import Flags, han_runs
from pipeline.segment import Segmenter

# Many strings to a block, so that each distinct one costs little; 40 to 170 bytes a character are in use.
_BLOCK_CHARACTERS = 1 << 20

Indices = NDArray[np.int64]
# ids, word starts, tokens of each sentence
Block = tuple[NDArray[Any], Flags, Indices]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Token ids and word starts of n sentences with T tokens.

    `ids` uint16[T] (uint32 when the vocabulary exceeds 65,535), `word_start` bool[T], `offsets` int64[n + 1]: sentence *i* is
    ``ids[offsets[i] : offsets[i + 1]]``. A sentence may have no tokens; the first token of one always begins a word. `unknown`
    counts the characters that became the unknown token.
    """

    ids: NDArray[Any]
    word_start: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    unknown: Mapping[str, int] = field(default_factory=dict)


def encode_blocks(
    text: str, bounds: Indices, dtype: type[Any], encode_block: Callable[[str, Indices, Counter[str]], Block]
) -> Encoded:
    """Encode the sentences ``text[bounds[i] : bounds[i + 1]]`` a block at a time, and join what comes back.

    `encode_block` gets the text of a block, which is not empty, its bounds, from 0 to its length, and where to count unknown
    characters. Memory beyond the result is bounded by blocks of about 1,048,576 characters, or one sentence if longer;
    builds have none longer than `limits.MAX_SENTENCE_CHARACTERS`.
    """
    sentences = len(bounds) - 1
    parts: list[Block] = []
    unknown: Counter[str] = Counter()
    size = int(bounds[-1])
    block = -(-size // max(1, -(-size // _BLOCK_CHARACTERS)))  # of equal size: a small last one would not pay
    begin = 0
    while begin < sentences:
        end = min(max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + block))), sentences)
        part = text[int(bounds[begin]) : int(bounds[end])]
        if part:
            parts.append(encode_block(part, bounds[begin : end + 1] - bounds[begin], unknown))
        else:
            parts.append((np.zeros(0, dtype), np.zeros(0, np.bool_), np.zeros(end - begin, np.int64)))
        begin = end
    offsets = np.zeros(sentences + 1, np.int64)
    if not parts:
        return Encoded(ids=np.zeros(0, dtype), word_start=np.zeros(0, np.bool_), offsets=offsets)
    np.cumsum(np.concatenate([lengths for _, _, lengths in parts]), out=offsets[1:])
    word_start = np.concatenate([flags for _, flags, _ in parts])
    word_start[offsets[:-1][np.diff(offsets) > 0]] = True  # whatever became of the characters before
    return Encoded(
        ids=np.concatenate([ids.astype(dtype, copy=False) for ids, _, _ in parts]),
        word_start=word_start,
        offsets=offsets,
        unknown=unknown,
    )


def join_sentences(sentences: Sequence[str]) -> tuple[str, Indices]:
    """Return sentences that each stand alone as one text, parted by newlines, and its bounds."""
    bounds = np.zeros(len(sentences) + 1, np.int64)
    np.cumsum([len(sentence) + 1 for sentence in sentences], out=bounds[1:])
    return "".join(f"{sentence}\n" for sentence in sentences), bounds


def id_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """Return the type that stores ids of a vocabulary."""
    return np.uint16 if vocab_size <= 65_535 else np.uint32


def word_flags(codes: Codes, segmenter: Segmenter) -> tuple[Flags, Flags]:
    """Return which characters lie in runs of U+4E00..U+9FD5, and which of those begin a word of the segmenter."""
    han: Flags = (codes >= FIRST_HAN) & (codes <= LAST_HAN)
    begins = np.zeros(len(codes), np.bool_)
    if han.any():
        runs, inside = han_runs(codes, han)
        begins[han] = segmenter.word_starts(runs)[inside]
    return han, begins


def byte_places(codes: Codes) -> Indices:
    """Return where each character begins in UTF-8, and at the end the number of bytes: int64[C + 1]."""
    sizes = np.ones(len(codes), np.int64)
    if codes.dtype != np.uint8:
        sizes += codes >= 0x80
        sizes += codes >= 0x800
        sizes += codes >= 0x10000
    places = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(sizes, out=places[1:])
    return places


def strings(data: bytes, bounds: Indices) -> Any:
    """Return the Arrow array of the strings between bounds, in bytes, that cut UTF-8 text one after another."""
    return pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(data))
