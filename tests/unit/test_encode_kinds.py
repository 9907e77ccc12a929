"""The encoders of word vocabularies and byte-level BPE: ids against the tokenizer itself, word starts against the segmenter."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.encode_blocks
from pipeline.encode import Encoder
from pipeline.encode_blocks import Encoded
from pipeline.encode_bytes import ByteEncoder
from pipeline.encode_word import WordEncoder
from pipeline.errors import EncodingError
from pipeline.make_encoder import AnyEncoder, make_encoder
from pipeline.segment import Segmenter, make_segmenter
from tests.helpers.tiny_tokenizers import HAN, HAN_WORDS, LATIN_WORDS, MARKS, byte_bpe, every_kind, roformer_word, wordpiece

KINDS = ("roformer-word", "byte-bpe")
PIECES = st.one_of(
    st.sampled_from([*HAN, *HAN_WORDS, *LATIN_WORDS, *MARKS]),
    st.sampled_from(
        ["'s", "'ll", "''s", "it's", "'RE", " 's", "'t'", "\u3000'd", "’s", "  ", "   ", " \t", "\xa0", "\u2028", "\u3000"]
    ),
    st.sampled_from(
        ["X光线", "T恤", "AT&T", "c#", "4s店", "4S店", "卡拉OK", "小S", "3.14", "C++", "B超", "江南style", "１２", "½", "x²"]
    ),
    st.sampled_from(
        [
            "\u200b",
            "\x00",
            "\ufffd",
            "\u0301",
            "é",
            "café",
            "naïve",
            "Ω",
            "か",
            "가",
            "👍🏽",
            "𠮷",
            "豈",
            "\u9fff",
            "\U00020bb7野",
        ]
    ),
    st.characters(codec="utf-8"),
)
SENTENCES = st.lists(st.lists(PIECES, max_size=16).map("".join), max_size=5)


@functools.cache
def segmenter() -> Segmenter:
    return make_segmenter("jieba-numpy")


@functools.cache
def encoder(kind: str) -> AnyEncoder:
    return make_encoder({"wordpiece": wordpiece, "roformer-word": roformer_word, "byte-bpe": byte_bpe}[kind](), segmenter())


def split(encoded: Encoded) -> list[tuple[list[int], list[bool]]]:
    return [
        (encoded.ids[a:b].tolist(), encoded.word_start[a:b].tolist())
        for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)
    ]


@settings(max_examples=150, deadline=None)
@given(SENTENCES)
def test_word_ids_are_the_tokenizers(sentences: list[str]) -> None:
    found = split(encoder("roformer-word").encode_sentences(sentences))
    assert [ids for ids, _ in found] == [roformer_word().encode(sentence) for sentence in sentences]
    assert all(starts[0] for _, starts in found if starts)


@settings(max_examples=150, deadline=None)
@given(SENTENCES)
def test_byte_ids_are_the_tokenizers(sentences: list[str]) -> None:
    stripped = ["".join(c for c in sentence if c not in "\x1c\x1d\x1e\x1f\x85") for sentence in sentences]
    found = split(encoder("byte-bpe").encode_sentences(stripped))
    assert [ids for ids, _ in found] == [byte_bpe().encode(sentence.strip()) for sentence in stripped]
    assert all(starts[0] for _, starts in found if starts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [1, 7, 40])
def test_blocks_do_not_show(kind: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = ["研究生研究生命起源，hello world's", "", "用Python写的X光。  ", "it's the T恤 中国", "\u3000𠮷野家 café"] * 4
    whole = encoder(kind).encode_sentences(sentences)
    monkeypatch.setattr(pipeline.encode_blocks, "_BLOCK_CHARACTERS", block)
    cut = encoder(kind).encode_sentences(sentences)
    assert split(whole) == split(cut)


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_may_touch(kind: str) -> None:
    text = "hello the.the hello's研究生。”2015年T恤，！？the"
    cuts = [text.index(mark) + len(mark) for mark in (".", "’s", "。”", "，", "！", "？") if mark in text]
    bounds = np.array([0, *cuts, len(text)])
    parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    found = split(encoder(kind).encode(text, bounds))
    tokenizer = {"roformer-word": roformer_word, "byte-bpe": byte_bpe}[kind]()
    assert [ids for ids, _ in found] == [tokenizer.encode(part.strip()) for part in parts]
    assert all(starts[0] for _, starts in found if starts)


def test_unknown_characters_are_counted() -> None:
    found = encoder("roformer-word").encode_sentences(["犇犇 hello，研犇", "ж hello жж T恤犇\u200b", "\u200b ж", "heж"])
    assert found.unknown == {"犇": 4, "ж": 5}
    assert not encoder("byte-bpe").encode_sentences(["犇ж"]).unknown


@pytest.mark.parametrize(
    "sentence", ["abc# the", "helloC++the", "AT&Tthe", "theAT&Thello", "cd# c++s", "heC#\u200b研究T恤光，T恤 X光the"]
)
def test_words_of_jiebas_dictionary_with_marks(sentence: str) -> None:
    ((ids, _),) = split(encoder("roformer-word").encode_sentences([sentence]))
    assert ids == roformer_word().encode(sentence)


def words_of(kind: str, sentence: str) -> list[str]:
    """Return the sentence as the units of whole-word masking."""
    tokenizer = {"roformer-word": roformer_word, "byte-bpe": byte_bpe}[kind]()
    ((ids, starts),) = split(encoder(kind).encode_sentences([sentence]))
    words: list[list[int]] = []
    for id, start in zip(ids, starts, strict=True):
        if start:
            words.append([])
        words[-1].append(id)
    return [tokenizer.decode(word) for word in words]


@pytest.mark.parametrize(
    ("kind", "sentence", "words"),
    [
        ("roformer-word", "研究生研究生命起源", "研究生|研究|生命|起源"),
        ("roformer-word", "hello worlds，中国人", "hello|worlds|，|中国|人"),
        ("roformer-word", "下去天安门", "下去|天安门"),
        ("byte-bpe", "下去 the hello's", "下去| the| hello|'s"),
        ("byte-bpe", "用python写的hello", "用|python|写|的|hello"),
        ("byte-bpe", "我 𠮷豈a 👍🏽", "我| 𠮷|豈|a| 👍🏽"),
    ],
)
def test_words_are_the_units(kind: str, sentence: str, words: str) -> None:
    assert words_of(kind, sentence) == words.split("|")


def test_a_token_across_words_begins_one_and_the_rest_of_the_word_stays_with_it() -> None:
    # Tokens 研 | 究生 | 命 by the merge of 究生; jieba says 研究 | 生命. The second token holds the beginning of 生命.
    assert words_of("byte-bpe", "研究生命") == ["研", "究生命"]


def test_lone_surrogates_are_refused() -> None:
    for kind in KINDS:
        with pytest.raises(EncodingError, match="lone surrogate"):
            encoder(kind).encode_sentences(["a\udc80"])


def test_every_kind_has_its_encoder() -> None:
    assert [type(make_encoder(tokenizer, segmenter())) for tokenizer in every_kind()] == [Encoder, WordEncoder, ByteEncoder]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_gives_nothing(kind: str) -> None:
    for sentences in ([], [""], ["", " \n"]):
        encoded = encoder(kind).encode_sentences(sentences)
        assert encoded.ids.dtype == np.uint16
        assert len(encoded.ids) == len(encoded.word_start) == 0
        assert encoded.offsets.tolist() == [0] * (len(sentences) + 1)
