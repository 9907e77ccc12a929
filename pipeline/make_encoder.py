"""The encoder that goes with a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.encode import Encoder
from pipeline.encode_blocks import Encoded
from pipeline.errors import VocabularyError
from pipeline.segment import Segmenter
from pipeline.tokenizer import KINDS, Tokenizer
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer
from pipeline.tokenizer_roformer_word import RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import WordPieceTokenizer


class AnyEncoder(Protocol):
    """Text to ids and word starts; not safe for use by several threads at once."""

    def encode(self, text: str, bounds: NDArray[np.int64]) -> Encoded: ...

    def encode_sentences(self, sentences: Sequence[str]) -> Encoded: ...


def make_encoder(tokenizer: Tokenizer, segmenter: Segmenter) -> AnyEncoder:
    """Return the encoder of a tokenizer, whose words come from `segmenter`; raises VocabularyError for an unknown kind."""
    if isinstance(tokenizer, WordPieceTokenizer):
        return Encoder(tokenizer, segmenter)
    if isinstance(tokenizer, RoFormerWordTokenizer):
        from pipeline.encode_word import WordEncoder

        return WordEncoder(tokenizer, segmenter)
    if isinstance(tokenizer, ByteBpeTokenizer):
        from pipeline.encode_bytes import ByteEncoder

        return ByteEncoder(tokenizer, segmenter)
    raise VocabularyError("no encoder for this kind of tokenizer", expected=" or ".join(KINDS), got=tokenizer.kind)
