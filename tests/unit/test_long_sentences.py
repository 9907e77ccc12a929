"""Sentences beyond the limit are parted at fit places, as a function of their own text; all others stay as they are."""

from __future__ import annotations

import functools
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import clean, limits
from pipeline.long_sentences import part_long_sentences
from pipeline.make_encoder import AnyEncoder, make_encoder
from pipeline.segment import make_segmenter
from pipeline.sentence_stream import SentenceStream
from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece

FAMILY, THUMB, FLAGS, ACCENTED, KEYCAP = "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷", "e\u0301", "1\ufe0f\u20e3"
JAMO, DEVANAGARI = "\u1112\u1161\u11ab", "\u0915\u094d\u0937\u093f"


def parted(text: str, bounds: list[int]) -> tuple[list[str], list[int]]:
    new, places, owner = part_long_sentences(text, np.asarray(bounds, np.int64))
    assert places[0] == 0 and places[-1] == len(new) and len(owner) == len(places) - 1
    return [new[a:b] for a, b in pairwise(places.tolist())], owner.tolist()


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SENTENCE_CHARACTERS", 10)


def test_what_is_short_is_left_alone() -> None:
    text, bounds = "0123456789。天地。\n", np.array([0, 10, 11, 15], np.int64)
    same, places, owner = part_long_sentences(text, bounds)
    assert same is text and places is bounds and owner.tolist() == [0, 1, 2]


def test_cuts_lie_after_white_space_or_punctuation_else_at_the_limit() -> None:
    text = "短。" + "one two three" + "天" * 23 + "地，" + "玄" * 9 + "\n"
    pieces, owner = parted(text, [0, 2, len(text)])
    assert pieces == ["短。", "one two \n", "three天天天天天\n", "天" * 10 + "\n", "天天天天天天天天地，\n", "玄" * 9 + "\n"]
    assert owner == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "whole", [FAMILY, THUMB, FLAGS[:2], ACCENTED, KEYCAP, JAMO, DEVANAGARI, "👩🏽‍🚀", "\u0e01\u0e33", "ｶ\uff9e"]
)
def test_no_cut_parts_what_is_one_to_a_reader(whole: str) -> None:
    for before in range(10):
        for filler in ("天", "a", "·", "，", FLAGS[:2] if whole == FLAGS[:2] else "b"):
            pieces, _ = parted(filler * before + whole * 12, [0, len(filler) * before + 12 * len(whole)])
            if len(whole) <= 5:  # what is longer than half the limit has to be cut
                assert all(piece.rstrip("\n").replace(whole, "").replace(filler, "") == "" for piece in pieces), pieces


def test_marks_without_end_are_cut_all_the_same() -> None:
    assert [len(piece) for piece in parted("a" + "\u0301" * 34, [0, 35])[0]] == [11, 11, 11, 5]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("天a 。,\u0301\u200d👍🏽🇩é", max_size=40), min_size=1, max_size=6))
def test_nothing_is_lost_and_a_sentence_decides_for_itself(sentences: list[str]) -> None:
    bounds = np.concatenate([[0], np.cumsum([len(s) for s in sentences])]).tolist()
    pieces, owner = parted("".join(sentences), bounds)
    for number, sentence in enumerate(sentences):
        own = [piece for piece, of in zip(pieces, owner, strict=True) if of == number]
        assert "".join(piece.removesuffix("\n") for piece in own) == sentence
        assert all(len(piece.removesuffix("\n")) <= 10 for piece in own)
        assert own == parted(sentence, [0, len(sentence)])[0] or not sentence or len(sentence) <= 10


@settings(max_examples=300, deadline=None)
@given(st.text("ab天地 \u3000\u200b\u200d👩🚀\ufe0fＡ９\t\ud800\U0001f3f4\U000e0067\U000e007f", max_size=60))
def test_cleaning_in_portions_is_cleaning_at_once(text: str) -> None:
    at_once = clean.clean_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean, "_PORTION_CHARACTERS", 5)
        assert clean.clean_text(text) == at_once


GRAPHEMES = [FAMILY, THUMB, FLAGS[:2], "👩🏽‍🚀", ACCENTED, KEYCAP, JAMO, DEVANAGARI, "𠮷", "か\u3099", "‼\ufe0f", "#\ufe0f\u20e3"]


@functools.cache
def encoder(name: str) -> AnyEncoder:
    tokenizers = {"wordpiece": wordpiece, "cased": cased, "roformer-word": roformer_word, "byte-bpe": byte_bpe}
    return make_encoder(tokenizers[name](), make_segmenter("rjieba"))


def cased() -> WordPieceTokenizer:
    """Return a tokenizer with a piece for every character that graphemes here are made of, so that none is one unknown token."""
    characters = sorted(set("".join(GRAPHEMES)))
    vocab = [*wordpiece().vocab, *characters, *(f"##{c}" for c in characters)]
    return WordPieceTokenizer.from_vocab(list(dict.fromkeys(vocab)), lowercase=False)


@pytest.mark.parametrize("name", ["wordpiece", "cased", "roformer-word", "byte-bpe"])
@pytest.mark.parametrize("whole", GRAPHEMES)
@pytest.mark.parametrize("form", ["天 {}", "{}", "a{}，"])
def test_truncation_to_samples_parts_no_grapheme(name: str, whole: str, form: str) -> None:
    words = [part for part in re.split(r"(\{\}|天|，|a)", form) if part] * 40
    words = [word.format(whole) for word in words]
    found = encoder(name).encode_sentences(["".join(words)])
    borders = {len(encoder(name).encode_sentences(["".join(words[:count])]).ids) for count in range(len(words) + 1)}
    stream = SentenceStream(
        ids=found.ids,
        word_start=found.word_start,
        offsets=found.offsets,
        document=np.zeros(1, np.int64),
        row=np.ones(1, np.int64),
    )
    for max_tokens in range(125, 140):
        assert borders.issuperset(stream.cut_to(max_tokens).offsets.tolist())
