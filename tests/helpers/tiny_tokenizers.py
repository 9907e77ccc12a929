"""Small tokenizers of every kind that spell the test sentences."""

from __future__ import annotations

import functools

from pipeline.tokenizer_byte_bpe import SPECIAL_TOKENS as ROBERTA_SPECIAL_TOKENS
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer, byte_characters
from pipeline.tokenizer_roformer_word import RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

HAN = "研究生命起源这位正在科学的一是不了人我中国北京大上海用写家野下去天安门光恤他说好小店"
HAN_WORDS = [
    "研究",
    "研究生",
    "生命",
    "起源",
    "正在",
    "科学",
    "中国",
    "北京",
    "上海",
    "大学",
    "北京大学",
    "不了",
    "这位",
    "天安门",
]
LATIN = "abcdefghijklmnopqrstuvwxyz0123456789"
LATIN_WORDS = ["the", "hello", "world", "python", "caf", "na", "ve", "##ing", "##s", "cd", "c++", "4s店"]
MARKS = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~，。！？：；“”（）《》…€"


@functools.cache
def wordpiece() -> WordPieceTokenizer:
    tokens = [*SPECIAL_TOKENS, *HAN, *LATIN, *("##" + c for c in LATIN), *MARKS, *LATIN_WORDS[:2], "##ing"]
    return WordPieceTokenizer.from_vocab(list(dict.fromkeys(tokens)))


@functools.cache
def roformer_word() -> RoFormerWordTokenizer:
    tokens = [*SPECIAL_TOKENS, *HAN, *HAN_WORDS, *LATIN, *("##" + c for c in LATIN), *MARKS, *LATIN_WORDS]
    return RoFormerWordTokenizer.from_vocab(list(dict.fromkeys(tokens)))


@functools.cache
def byte_bpe() -> ByteBpeTokenizer:
    characters = byte_characters()

    def spelled(text: str) -> str:
        return "".join(characters[byte] for byte in text.encode())

    merges: list[tuple[str, str]] = []
    tokens = [*ROBERTA_SPECIAL_TOKENS[:4], *sorted(characters)]
    # Some merges go across characters and words: 究生 and 生命 share one, and a token may hold the end of one character and the next.
    for text in ["he", "hel", "hell", "hello", " t", " th", " the", "'s", "研", "究", "究生", "生", "命", "的 ", "  ", "中国"]:
        whole = spelled(text)
        for end in range(2, len(whole) + 1):
            if whole[:end] not in tokens:
                merges.append((whole[: end - 1], whole[end - 1]))
                tokens.append(whole[:end])
    return ByteBpeTokenizer([*tokens, "<mask>"], merges)


def every_kind() -> list[WordPieceTokenizer | RoFormerWordTokenizer | ByteBpeTokenizer]:
    return [wordpiece(), roformer_word(), byte_bpe()]
