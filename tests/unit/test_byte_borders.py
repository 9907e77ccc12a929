"""Borders that byte-level BPE never joins: text cut there has the tokens that it has uncut."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.byte_borders import ByteBorders
from pipeline.characters import code_points
from pipeline.encode_blocks import byte_places
from pipeline.encode_bytes import ByteEncoder
from pipeline.segment import make_segmenter
from pipeline.tokenizer_byte_bpe import SPECIAL_TOKENS, ByteBpeTokenizer, byte_characters

# Neighbours in code point, in last byte (亮 亮, 中 両 share none; 丮 乮 end alike), and of one to four bytes.
LETTERS = "中丮乮亮龍のノドラéèж가𠮷豈a "
TEXTS = st.text(st.sampled_from(LETTERS), min_size=2, max_size=5)


@functools.cache
def segmenter() -> object:
    return make_segmenter("jieba-numpy")


def tokenizer_of(texts: list[tuple[str, list[int]]]) -> ByteBpeTokenizer:
    """Return BPE that spells each text as one token, its neighbours joined in the order that the numbers say."""
    characters = byte_characters()
    tokens = [*SPECIAL_TOKENS[:4], *sorted(characters)]
    merges: dict[tuple[str, str], None] = {}
    for text, order in texts:
        parts = [characters[byte] for byte in text.encode()]
        for number in order:
            if len(parts) > 1:
                at = number % (len(parts) - 1)
                merges.setdefault((parts[at], parts[at + 1]))
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
    tokens += dict.fromkeys(left + right for left, right in merges)
    return ByteBpeTokenizer([*dict.fromkeys(tokens), "<mask>"], list(merges))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.lists(st.integers(0, 20), max_size=12)), max_size=4),
    st.lists(st.text(st.sampled_from(LETTERS), max_size=30), max_size=3),
)
def test_ids_are_the_tokenizers_whatever_the_merges(texts: list[tuple[str, list[int]]], sentences: list[str]) -> None:
    tokenizer = tokenizer_of(texts)
    sentences = sentences + [text + "中" + text for text, _ in texts]
    found = ByteEncoder(tokenizer, segmenter()).encode_sentences(sentences)  # type: ignore[arg-type]
    ids = [found.ids[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert ids == [tokenizer.encode(sentence.strip()) for sentence in sentences]


@pytest.mark.parametrize(
    ("merge", "text", "joined"),
    [
        ("の|日", "の日の月月の日", [1, 6]),  # the whole of both characters
        ("の|\udce6", "の日の月", [1, 3]),  # the lead byte that 日 and 月 share
        ("\udcae|日", "の日丮日月日", [1, 3]),  # の and 丮 end in one byte
        (" |日", " 日月", [1]),
        ("中|国人", "中国中人", [1]),
        ("人中|国", "中国中国", [1, 3]),  # no more is asked than the two characters
    ],
)
def test_only_borders_that_a_merge_fits_stay(merge: str, text: str, joined: list[int]) -> None:
    left, right = (part.encode("utf-8", "surrogateescape") for part in merge.split("|"))
    codes = code_points(text)
    data, places = np.frombuffer(text.encode(), np.uint8), np.arange(1, len(text))
    cuts = ByteBorders([(left, right)]).cuts(data, codes, byte_places(codes), places)
    assert sorted(set(places.tolist()) - set(cuts.tolist())) == joined
