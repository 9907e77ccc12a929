"""Training of vocabularies other than WordPiece's merged one: characters, RoFormer's words, byte-level BPE. Deterministic: counts
first, then code points.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import numpy as np

from pipeline.characters import code_points, distinct_strings
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.encode_blocks import strings
from pipeline.errors import EmptyCorpusError, VocabularyError
from pipeline.han_runs import han_runs, text_of
from pipeline.segment import NumpySegmenter
from pipeline.tokenizer import Tokenizer
from pipeline.tokenizer_byte_bpe import SPECIAL_TOKENS as ROBERTA_SPECIAL_TOKENS
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer, byte_characters
from pipeline.tokenizer_roformer_word import RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS, WordPieceTokenizer
from pipeline.train_wordpiece import ascii_symbols, text_blocks, train_vocabulary

# Of the room behind ASCII, characters of a word vocabulary may take this much: each word it lacks is spelled by them.
_CHARACTER_SHARE = 0.4
TRAINED_KINDS = ("wordpiece", "byte-bpe", "character", "roformer-word")


def train_tokenizer(kind: str, texts: Iterable[str], size: int, *, lowercase: bool = True) -> Tokenizer:
    """Return a tokenizer of at most `size` tokens trained on `texts`; `kind` is one of TRAINED_KINDS.

    Raises VocabularyError when `size` is too small for what must be in it, EmptyCorpusError when the texts hold no word.
    """
    if kind == "wordpiece":
        return WordPieceTokenizer(train_vocabulary(texts, size, lowercase), lowercase=lowercase)
    if kind == "byte-bpe":
        return train_byte_bpe(texts, size)
    if kind == "character":
        return WordPieceTokenizer(_characters(texts, size, lowercase), lowercase=lowercase)
    return RoFormerWordTokenizer(_words(texts, size, lowercase), lowercase=lowercase)


def train_byte_bpe(texts: Iterable[str], size: int) -> ByteBpeTokenizer:
    """Return byte-level BPE with RoBERTa's special tokens: the 256 bytes, then merges, the most frequent pair first.

    The library's trainer numbers words in the order of a hash map, but counts do not depend on it and ties go by the ids of a
    pair, which follow the alphabet: a test in five processes compares.
    """
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    least = len(ROBERTA_SPECIAL_TOKENS) + 256
    _check_size(size, least, "special tokens and bytes")
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Special tokens get their ids here, where the trainer would give other ones.
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(ROBERTA_SPECIAL_TOKENS), show_progress=False, initial_alphabet=sorted(byte_characters())
    )
    trained.train_from_iterator(text_blocks(texts), trainer=trainer)
    model = json.loads(trained.to_str())["model"]
    if not model["merges"]:
        raise EmptyCorpusError("no text to train a vocabulary on", hint="Check the input, or pass an existing vocabulary")
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return ByteBpeTokenizer(
        [*ROBERTA_SPECIAL_TOKENS[:4], *tokens, ROBERTA_SPECIAL_TOKENS[4]], [(left, right) for left, right in model["merges"]]
    )


def _characters(texts: Iterable[str], size: int, lowercase: bool) -> list[str]:
    """Return special tokens, ASCII and the most frequent characters, as single tokens and, but for Han and marks, as pieces."""
    base, counts = _base(size, lowercase), Counter[str]()
    for block in text_blocks(texts):
        _count_characters(block, lowercase, counts)
    return _packed(base, _by_frequency(counts, base), size)


def _words(texts: Iterable[str], size: int, lowercase: bool) -> list[str]:
    """Return special tokens, ASCII, characters, and the words of several Han that jieba finds most often, HMM off."""
    segmenter, base = NumpySegmenter(hmm=False), _base(size, lowercase)
    characters, words = Counter[str](), Counter[str]()
    for block in text_blocks(texts):
        _count_characters(block, lowercase, characters)
        codes = code_points(block)
        han = (codes >= FIRST_HAN) & (codes <= LAST_HAN)
        if han.any():
            runs, inside = han_runs(codes, han)
            begins = np.flatnonzero(segmenter.word_starts(runs)[inside])
            data = text_of(runs[inside]).encode()
            found, which = distinct_strings(strings(data, np.append(begins, int(han.sum())) * 3))
            for word, count in zip(found, np.bincount(which, minlength=len(found)).tolist(), strict=True):
                if len(word) > 1:
                    words[word] += count
    chosen = _by_frequency(characters, base)[: int((size - len(SPECIAL_TOKENS) - len(base)) * _CHARACTER_SHARE)]
    return _packed(base, chosen + _by_frequency(words, base), size)


def _base(size: int, lowercase: bool) -> set[str]:
    base = ascii_symbols(lowercase)
    _check_size(size, len(SPECIAL_TOKENS) + len(base), "special tokens and ASCII")
    return base


def _check_size(size: int, least: int, why: str) -> None:
    if size < least:
        raise VocabularyError("the vocabulary is too small", expected=f"at least {least} ({why})", got=size)


def _count_characters(block: str, lowercase: bool, counts: Counter[str]) -> None:
    codes, times = np.unique(code_points(block), return_counts=True)
    for code, count in zip(codes.tolist(), times.tolist(), strict=True):
        character = chr(code).lower() if lowercase else chr(code)
        if len(character) == 1 and character.isprintable() and not character.isspace():
            counts[character] += count


def _by_frequency(counts: Counter[str], base: set[str]) -> list[str]:
    return sorted((token for token in counts if token not in base), key=lambda token: (-counts[token], token))


def _packed(base: set[str], chosen: list[str], size: int) -> list[str]:
    if not chosen:
        raise EmptyCorpusError("no text to train a vocabulary on", hint="Check the input, or pass an existing vocabulary")
    ascii_first = sorted(base, key=lambda symbol: (len(symbol) > 1, symbol))
    return [*SPECIAL_TOKENS, *ascii_first, *chosen[: size - len(SPECIAL_TOKENS) - len(base)]]
