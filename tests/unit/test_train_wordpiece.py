"""Training of vocabularies: the same in every process, nothing plain unknown, sizes kept."""

from __future__ import annotations

import hashlib
import json
import os
import string
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from pipeline.errors import EmptyCorpusError, EncodingError, VocabularyError
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from pipeline.train_wordpiece import train_vocabulary

# Many ties on purpose: words and pairs of equal frequency, in an order that is not theirs by code point.
TEXTS = [
    "lower lowest newer newest wider widest low new wide",
    "Über straße café naïve İstanbul résumé",
    "zebra yankee xray whiskey victor uniform tango sierra",
    "研究生研究生命起源，这位研究生正在研究生命科学。",
    "かな カナ 가나다 привет мир γειά",
    "2020 2021 3.14 x1 y2 (a+b)*c ≠ d",
] * 3 + ["𠮷野家 豈 👍👍 一丁七"]


def test_five_processes_with_different_hash_seeds_agree() -> None:
    code = (
        "import json, sys, hashlib; from pipeline.train_wordpiece import train_vocabulary; "
        "print(hashlib.sha256(json.dumps(train_vocabulary(json.load(sys.stdin), 330)).encode()).hexdigest())"
    )
    digests = set()
    for seed in range(5):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(TEXTS), env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout.strip())
    assert digests == {hashlib.sha256(json.dumps(train_vocabulary(TEXTS, 330)).encode()).hexdigest()}


def test_order_and_packaging_of_the_texts_do_not_matter() -> None:
    assert train_vocabulary(iter(TEXTS[::-1]), 330) == train_vocabulary(["\n".join(TEXTS)], 330) == train_vocabulary(TEXTS, 330)


def test_special_tokens_first_then_characters_then_pieces() -> None:
    vocab = train_vocabulary(TEXTS, 330)
    assert vocab[:5] == list(SPECIAL_TOKENS)
    assert len(vocab) == len(set(vocab)) <= 330
    bare = [token.removeprefix("##") if len(token) > 2 else token for token in vocab[5:]]
    one = [len(token) == 1 for token in bare]
    assert one == sorted(one, reverse=True)
    characters = vocab[5 : 5 + sum(one)]
    assert characters == sorted(characters, key=lambda token: (token.startswith("##") and len(token) > 2, token))
    assert False in one


@pytest.mark.parametrize("lowercase", [True, False])
def test_nothing_plain_is_unknown(lowercase: bool) -> None:
    vocab = train_vocabulary(["一"], 400, lowercase=lowercase)
    tokenizer = Tokenizer.from_vocab(vocab)
    assert tokenizer.lowercase is lowercase
    assert tokenizer.special_ids.unk not in tokenizer.encode(" ".join([string.printable, string.ascii_letters, "Zq9xK7"]))
    assert "一" in vocab


def test_training_text_is_known_when_its_characters_fit() -> None:
    tokenizer = Tokenizer.from_vocab(train_vocabulary(TEXTS, 1000))
    for text in TEXTS:
        assert tokenizer.special_ids.unk not in tokenizer.encode(text), text


def test_merges_follow_the_definition() -> None:
    """Against byte-pair encoding by the book: recount everything at each step, ties by code point."""
    words = Counter(
        ["lower", "lowest", "newer", "newest", "wider", "wide", "low", "new", "lo", "est"] * 2 + ["abababab", "aaaa", "aaaaa"]
    )
    spelled = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    expected: list[str] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelled.items():
            for pair in pairwise(pieces):
                pairs[pair] += words[word]
        pairs = Counter({pair: count for pair, count in pairs.items() if count >= 2})
        if not pairs:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        token = left + right[2:]
        if token not in expected:
            expected.append(token)
        for pieces in spelled.values():
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == (left, right):
                    pieces[i : i + 2] = [token]
                i += 1
    vocab = train_vocabulary([" ".join(words.elements())], 1000)
    assert vocab[-len(expected) :] == expected
    short = train_vocabulary([" ".join(words.elements())], len(vocab) - 4)
    assert short == vocab[:-4]


def test_han_take_precedence_by_frequency() -> None:
    text = "".join(chr(0x4E00 + i) * (200 - i) for i in range(150)) + " " + " ".join(chr(0x430 + i % 32) for i in range(64))
    least = len(SPECIAL_TOKENS) + 32 + 2 * 36
    vocab = train_vocabulary([text], least + 100)
    han = [token for token in vocab if token >= "\u4e00"]
    assert han == [chr(0x4E00 + i) for i in range(len(han))]
    assert len(han) >= 75


def test_small_sizes_are_refused_saying_how_large_it_must_be() -> None:
    least = len(SPECIAL_TOKENS) + 32 + 2 * 36
    assert len(train_vocabulary(TEXTS, least)) == least
    with pytest.raises(VocabularyError, match=rf"expected at least {least} .*got {least - 1}"):
        train_vocabulary(TEXTS, least - 1)


@pytest.mark.parametrize("texts", [[], [""], [" \n", "\u200b"]])
def test_texts_without_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(EmptyCorpusError, match="no text to train a vocabulary on"):
        train_vocabulary(texts, 1000)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(EncodingError, match="lone surrogate"):
        train_vocabulary(["a\udc80"], 1000)
