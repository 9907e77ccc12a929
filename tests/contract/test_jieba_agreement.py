"""Boundaries are jieba's: exactly with `jieba` and `jieba-numpy`, to 99.999 % of runs with `rjieba`; the figures are printed (-s)."""

from __future__ import annotations

import functools
import importlib.resources
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.boundary_agreement import TRICK, agreement, set_match_words
from pipeline.encode import Encoder
from pipeline.han_runs import runs_of
from pipeline.make_encoder import make_encoder
from pipeline.segment import HAN_RUN, Segmenter, cut_words, make_segmenter
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from tests.helpers.tiny_tokenizers import every_kind

SENTENCES = [
    "研究生研究生命起源",
    "这位研究生正在研究生命科学",
    "他来到了网易杭研大厦",
    "小明硕士毕业于中国科学院计算所，后在日本京都大学深造",
    "乒乓球拍卖完了",
    "南京市长江大桥",
    "结婚的和尚未结婚的",
    "工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作",
    "我不喜欢日本和服",
    "雷猴回归人间",
    "永和服装饰品有限公司",
    "在中國古典文學裡，常在和答應是兩種稱號",
    "这款iPhone 15 Pro用的是A17芯片，跑分超过150万。",
    "用Python写的jieba分词，HMM=True时可以识别新词，例如“魑魅魍魉”。",
    "3月14日是π日；E=mc²，é和が不是汉字。",
    "豈更車𠮷野家㐀䶮鿫",
    "的一是不了人我在有他这中大来上国",
    "哈哈哈哈哈哈哈哈",
    "龘靐齉爩",
]


@functools.cache
def reference() -> Any:
    """jieba as its users have it: a fresh tokenizer of the public package, with its cache in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    tokenizer = jieba.Tokenizer()
    with (Path(jieba.__file__).parent / "dict.txt").open("rb") as file:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(file)
    tokenizer.initialized = True
    return tokenizer


@functools.cache
def engine(name: str, hmm: bool) -> Segmenter:
    return make_segmenter(name, hmm)


def runs_of_the_sample() -> list[str]:
    folder = importlib.resources.files("pipeline.sample")
    texts = [
        entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if re.fullmatch(r"zh_.*\.txt", entry.name)
    ]
    return [run for text in texts for run in HAN_RUN.findall(text)]


@pytest.mark.parametrize("hmm", [True, False])
@pytest.mark.parametrize("name", ["jieba", "jieba-numpy"])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_words_are_jiebas(sentence: str, name: str, hmm: bool) -> None:
    expected = [word for run in HAN_RUN.findall(sentence) for word in reference().cut(run, HMM=hmm)]
    assert cut_words(engine(name, hmm), sentence) == expected


@pytest.mark.parametrize("hmm", [True, False])
@pytest.mark.parametrize("name", ["jieba", "jieba-numpy"])
def test_encoded_word_starts_are_jiebas(name: str, hmm: bool) -> None:
    characters = sorted({character for sentence in SENTENCES for character in sentence if HAN_RUN.fullmatch(character)})
    encoder = Encoder(Tokenizer.from_vocab([*SPECIAL_TOKENS, *characters]), engine(name, hmm))
    encoded = encoder.encode_sentences(SENTENCES)
    for i, sentence in enumerate(SENTENCES):
        ids, starts = (column[encoded.offsets[i] : encoded.offsets[i + 1]] for column in (encoded.ids, encoded.word_start))
        lengths = [len(word) for run in HAN_RUN.findall(sentence) for word in reference().cut(run, HMM=hmm)]
        expected = [place == 0 for length in lengths for place in range(length)]
        assert starts[ids >= len(SPECIAL_TOKENS)].tolist() == expected, sentence


@pytest.mark.parametrize("hmm", [True, False])
@pytest.mark.parametrize(("name", "least"), [("jieba-numpy", 1.0), ("rjieba", 0.99999)])
def test_agreement_on_the_sample(name: str, least: float, hmm: bool, capsys: pytest.CaptureFixture[str]) -> None:
    runs = runs_of_the_sample()
    assert len(runs) > 2_000
    text = " ".join(runs)
    differs = engine(name, hmm).word_starts(runs_of(text)) != engine("jieba", hmm).word_starts(runs_of(text))
    ends = np.cumsum([len(run) + 1 for run in runs])
    wrong = sorted({runs[i] for i in np.searchsorted(ends, np.flatnonzero(differs), side="right").tolist()})
    agreement = 1 - len(wrong) / len(runs)
    with capsys.disabled():
        print(
            f"\n{name} against jieba, HMM {'on' if hmm else 'off'}: {agreement:.4%} of {len(runs):,} runs agree; differing: {wrong[:10]}"
        )
    assert agreement >= least


def test_engine_jieba_is_the_public_package_on_the_sample() -> None:
    runs = runs_of_the_sample()[::20]
    for run in runs:
        assert cut_words(engine("jieba", True), run) == list(reference().cut(run))


@pytest.mark.parametrize("name", ["jieba", "jieba-numpy"])
@pytest.mark.parametrize("tokenizer", every_kind(), ids=lambda t: str(t.kind))
def test_word_starts_of_every_tokenizer_are_the_segmenters(tokenizer: Any, name: str) -> None:
    """A token begins a word when one of jieba's words begins at or inside the characters (or bytes) it stands for."""
    encoder = make_encoder(tokenizer, engine(name, True))
    for sentence in SENTENCES:
        for run in HAN_RUN.findall(sentence):
            encoded = encoder.encode_sentences([run])
            begins = {0}
            for word in reference().cut(run):
                begins.add(max(begins) + len(word))
            # The characters of each token, in bytes: byte-level tokens know theirs, the others are Han or unknown Han.
            sizes = [_bytes_of(tokenizer, id) for id in encoded.ids.tolist()]
            ends = np.cumsum(sizes)
            assert ends[-1] == 3 * len(run), run
            expected = [any(end - size <= 3 * b < end for b in begins) for size, end in zip(sizes, ends.tolist(), strict=True)]
            assert encoded.word_start.tolist() == expected, run


def _bytes_of(tokenizer: Any, id: int) -> int:
    if tokenizer.kind == "byte-bpe":
        return len(tokenizer.bytes_of(tokenizer.token(id)))
    return 3 if id == tokenizer.special_ids.unk else 3 * len(tokenizer.token(id))


def test_the_usual_trick_loses_words_where_ours_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "研究生研究生命起源"
    words = list(reference().cut(sentence))
    assert words == ["研究生", "研究", "生命", "起源"]
    assert set_match_words(sentence, set(words)) == ["研究生", "研究生", "命", "起源"]
    assert cut_words(engine("jieba-numpy", True), sentence) == words
    shares = agreement([sentence, "他来到了网易杭研大厦"])
    with capsys.disabled():
        print(f"\nof {shares['runs']:.0f} runs: jieba-numpy {shares['jieba-numpy']:.0%}, the ## trick {shares[TRICK]:.0%}")
    assert shares == {"jieba-numpy": 1.0, "rjieba": 1.0, TRICK: 0.5, "runs": 2.0}
    assert agreement(["no Han"]) == {}
