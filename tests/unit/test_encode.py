"""The encoder against `tokenizers` (ids) and against the segmenter (word starts)."""

from __future__ import annotations

import functools
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

import pipeline.encode_blocks
import pipeline.word_memory
from pipeline.encode import Encoder
from pipeline.errors import EncodingError
from pipeline.segment import Segmenter, cut_words, make_segmenter
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
COMMON_HAN = "研究生命起源这位正在科学的一是不了人我中国北京大上海"
HAN = COMMON_HAN + "㐀豈更車﨎"
MARKS = ",.!?;:'\"()[]-_=<>`~@#$%^&*+|\\/{}，。！？：；“”（）《》…—·、\u037e\u0387"
WORDS = [
    "the",
    "ing",
    "un",
    "##ing",
    "##ed",
    "##es",
    "hello",
    "world",
    "mask",
    "pad",
    "##word",
    "istanbul",
    "##s",
    "ss",
    "straße",
    "研究",
]
LOWER = [
    *SPECIAL_TOKENS,
    *LETTERS,
    *("##" + c for c in LETTERS),
    *HAN,
    *MARKS,
    *WORDS,
    "é",
    "ü",
    "i̇",
    "##\u0307",
    "\u0301",
    "か",
    "##か",
    "가",
    "👍",
]
CASED = [*dict.fromkeys([*LOWER, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "##É", "É", "İ", "Hello", "##A", "ß", "##ß"])]
LOWER = [*dict.fromkeys(LOWER)]

NASTY = st.one_of(
    st.sampled_from(list(HAN + MARKS + LETTERS + "ABCXYZÉİßſΣςǅﬁΩÅÅ가각か\u3099ガ𠮷𪚥丽﷐鿿龦鿖㍻")),
    st.sampled_from(list(" \t\n\r\u3000\xa0\u2028\u1680\u200b\u200d\ufeff\x00\x07\x85\xad\ufffd\u202e\U000e0041")),
    st.sampled_from(list("\u0301\u0307\u0323\u0338\u302e\u302f\u0345\u0f71\U0001d165\U00016ff0\u093e\u1939\u20e3\ufe0f")),
    st.sampled_from(
        [
            "👍🏽",
            "👨\u200d👩\u200d👧",
            "≠",
            "≮",
            "\u1fef",
            "\u2260\u0323",
            "[MASK]",
            "[UNK]",
            "##ing",
            "i̇stanbul",
            "unhelloing",
            "a" * 99,
        ]
    ),
    st.characters(codec="utf-8"),
)
SENTENCES = st.lists(st.lists(NASTY, max_size=24).map("".join), max_size=6)


@functools.cache
def segmenter(name: str = "jieba-numpy") -> Segmenter:
    return make_segmenter(name)


@functools.cache
def setup(lowercase: bool, strip_accents: bool | None = None) -> tuple[Encoder, BertWordPieceTokenizer]:
    vocab = LOWER if lowercase else CASED
    reference = BertWordPieceTokenizer(
        {token: id for id, token in enumerate(vocab)}, lowercase=lowercase, strip_accents=strip_accents
    )
    reference._tokenizer.encode_special_tokens = True
    return Encoder(Tokenizer(vocab, lowercase=lowercase, strip_accents=strip_accents), segmenter()), reference


def check_ids(sentences: list[str], lowercase: bool, strip_accents: bool | None = None) -> None:
    encoder, reference = setup(lowercase, strip_accents)
    encoded = encoder.encode_sentences(sentences)
    expected = [reference.encode(sentence, add_special_tokens=False).ids for sentence in sentences]
    got = [encoded.ids[a:b].tolist() for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]
    assert got == expected
    assert encoded.offsets[0] == 0
    assert len(encoded.word_start) == len(encoded.ids) == encoded.offsets[-1]
    assert all(encoded.word_start[a] for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False) if b > a)


@settings(max_examples=400, deadline=None)
@given(sentences=SENTENCES, lowercase=st.booleans(), strip_accents=st.sampled_from([None, None, True, False]))
def test_ids_equal_those_of_tokenizers(sentences: list[str], lowercase: bool, strip_accents: bool | None) -> None:
    check_ids(sentences, lowercase, strip_accents)


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_code_point_alone_and_between_letters(lowercase: bool) -> None:
    characters = [chr(code) for code in [*range(0xD800), *range(0xE000, 0x30000, 3), *range(0xE0000, 0xE0200), 0x10FFFF]]
    encoder, reference = setup(lowercase)
    for form in ("{}", "a{}b", "研{}究"):
        sentences = [form.format(character) for character in characters]
        encoded = encoder.encode_sentences(sentences)
        expected = reference._tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
        assert np.array_equal(np.diff(encoded.offsets), [len(e.ids) for e in expected])
        assert np.array_equal(encoded.ids, [id for e in expected for id in e.ids])


@pytest.mark.parametrize(
    "sentence",
    ["a" * 100, "a" * 101, "é" * 100, "é" * 101, "İ" * 50, "İ" * 101, "a" * 100 + "\u0301" * 5, "ﬁ" * 101, "a\x00" * 100],
)
def test_words_at_the_length_limit(sentence: str) -> None:
    for lowercase in (True, False):
        check_ids([sentence], lowercase)


def words_of(sentence: str, lowercase: bool = True) -> list[str]:
    encoder, _ = setup(lowercase)
    tokenizer = Tokenizer(LOWER if lowercase else CASED, lowercase=lowercase)
    encoded = encoder.encode_sentences([sentence])
    words: list[str] = []
    for id, start in zip(encoded.ids.tolist(), encoded.word_start.tolist(), strict=True):
        piece = tokenizer.token(id)
        if start:
            words.append(piece)
        else:
            words[-1] += piece.removeprefix("##")
    return words


def test_word_starts_are_the_segmenters_on_han_and_basic_tokens_elsewhere() -> None:
    assert words_of("研究生研究生命起源") == ["研究生", "研究", "生命", "起源"]
    assert words_of("Unhelloing worlds, 研究x生命!!") == ["unhelloing", "worlds", ",", "研究", "x", "生命", "!", "!"]
    assert words_of("研究，生命") == ["研究", "，", "生命"]
    # Outside U+4E00..U+9FD5 each CJK character is a word; an unknown character is one as well.
    assert words_of("㐀更研究", lowercase=False) == ["㐀", "更", "研究"]
    assert words_of("在中𠮷国") == ["在", "中", "[UNK]", "国"]
    # One character that normalises to several basic tokens: each begins a word.
    assert words_of("a≠b") == ["a", "=", "b"]
    assert words_of("Éa\u0301b") == ["eab"]


@settings(max_examples=200, deadline=None)
@given(
    runs=st.lists(st.text(alphabet=COMMON_HAN, min_size=1, max_size=20), max_size=8),
    between=st.sampled_from([" ", "，", "a", "\u200b", "\n", "㐀"]),
)
def test_word_starts_on_han_runs_are_exactly_the_segmenters(runs: list[str], between: str) -> None:
    encoded = setup(True)[0].encode_sentences([between.join(runs)])
    common = np.isin(encoded.ids, [LOWER.index(character) for character in COMMON_HAN])
    expected = [i == 0 for run in runs for word in cut_words(segmenter(), run) for i in range(len(word))]
    assert encoded.word_start[common].tolist() == expected


def test_words_never_cross_sentences() -> None:
    encoder, _ = setup(True)
    joined, apart = encoder.encode_sentences(["研究生"]), encoder.encode_sentences(["研", "究生"])
    assert joined.ids.tolist() == apart.ids.tolist()
    assert joined.word_start.tolist() == [True, False, False]
    assert apart.word_start.tolist()[:2] == [True, True]
    assert encoder.encode_sentences(["hel", "lo"]).word_start[encoder.encode_sentences(["hel"]).offsets[1]]


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_and_forgetting_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    draw = random.Random(5)
    parts = ["研究生命", "起源", "hello", "Unhelloing", "，", " ", "istanbul İ", "x1", "\u3000"]
    sentences = ["".join(draw.choices(parts, k=draw.randrange(12))) for _ in range(200)]
    encoder, _ = setup(True)
    whole = encoder.encode_sentences(sentences)
    monkeypatch.setattr(pipeline.encode_blocks, "_BLOCK_CHARACTERS", block)
    monkeypatch.setattr(pipeline.word_memory, "_MAX_SLOTS", 3)
    again = Encoder(Tokenizer(LOWER, lowercase=True), segmenter()).encode_sentences(sentences)
    for a, b in ((whole.ids, again.ids), (whole.word_start, again.word_start), (whole.offsets, again.offsets)):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize("sentences", [[], [""], ["", " ", "\u200b"], ["\n\n"]])
def test_nothing_to_encode(sentences: list[str]) -> None:
    encoded = setup(True)[0].encode_sentences(sentences)
    assert encoded.offsets.tolist() == [0] * (len(sentences) + 1)
    assert encoded.ids.dtype == np.uint16
    assert encoded.word_start.dtype == np.bool_


def test_large_vocabularies_use_32_bits() -> None:
    filler = [f"[unused{i}]" for i in range(65_535)]
    small = Tokenizer.from_vocab([*SPECIAL_TOKENS, *filler[:65_529], "z"])
    large = Tokenizer.from_vocab([*SPECIAL_TOKENS, *filler[:65_530], "z"])
    assert Encoder(small, segmenter()).encode_sentences(["z"]).ids.dtype == np.uint16
    ids = Encoder(large, segmenter()).encode_sentences(["z"]).ids
    assert ids.dtype == np.uint32
    assert ids.tolist() == [65_535]


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(EncodingError, match=r"lone surrogate U\+D83D in the text after '研究 '.*clean_text"):
        setup(True)[0].encode_sentences(["研究 \ud83d"])


@pytest.mark.parametrize("text", ["的" * 30_000, "研究" * 20_000, "a" * 100_000, "👍" * 50_000, "\u0301" * 50_000, "！" * 50_000])
def test_one_character_over_and_over(text: str) -> None:
    check_ids([text], True)


def test_unknown_characters_are_counted() -> None:
    encoder, _ = setup(True)
    unknown = encoder.encode_sentences(["犇犇 hello", "ж hello жж"]).unknown
    assert unknown["犇"] == 2 and unknown["ж"] == 3 and set(unknown) == {"犇", "ж"}


@given(st.lists(st.text(st.sampled_from(list("abz09é")), min_size=1, max_size=12), max_size=200))
def test_words_are_found_again_by_their_letters(words: list[str]) -> None:
    encoder, reference = setup(True)
    for _ in range(2):  # learnt, then remembered
        encoded = encoder.encode_sentences(words)
        expected = [reference.encode(word, add_special_tokens=False).ids for word in words]
        assert [encoded.ids[a:b].tolist() for a, b in pairwise(encoded.offsets.tolist())] == expected
