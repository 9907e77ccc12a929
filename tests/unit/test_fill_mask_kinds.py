"""Masks in a text for each kind of tokenizer; byte-level candidates are shown as text."""

from __future__ import annotations

import numpy as np

from pretrain.fill_mask import encode_masked, rank
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word


def test_the_space_before_a_byte_level_mask_belongs_to_it() -> None:
    tokenizer = byte_bpe()
    special = tokenizer.special_ids
    masked = encode_masked("hello [MASK] the", tokenizer)
    assert masked.ids == [special.cls, *tokenizer.encode("hello"), special.mask, *tokenizer.encode(" the"), special.sep]
    assert [masked.ids[i] for i in masked.positions] == [special.mask]


def test_word_vocabularies_are_masked_between_words() -> None:
    tokenizer = roformer_word()
    masked = encode_masked("研究[MASK]起源", tokenizer)
    words = [tokenizer.token(id) for id in masked.ids]
    assert words == ["[CLS]", "研究", "[MASK]", "起源", "[SEP]"]


def test_byte_level_candidates_read_as_text() -> None:
    tokenizer = byte_bpe()
    the, byte = tokenizer.token_id("Ġthe"), tokenizer.encode("家")[0]
    assert the is not None
    logits = np.zeros(tokenizer.vocab_size, np.float32)
    logits[the], logits[byte] = 9, 8
    first, second = rank(logits, tokenizer, 2)
    assert first.token == " the"
    assert second.token == tokenizer.token(byte)
