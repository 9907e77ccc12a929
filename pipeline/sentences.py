"""Splitting a text into sentences, by rule, without loss, a block of lines at a time.

Cuts are places in the text: the sentences, joined, are the text. The rules of each language are in `pipeline.sentences_zh` and
`pipeline.sentences_en`; they look at the marks of a block all at once, and at single places only where a rule needs words.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pipeline.characters import Codes, Indices, code_points
from pipeline.sentences_en import english_cuts
from pipeline.sentences_zh import chinese_cuts
from shards.errors import unknown_name

_LINE_FEED = 0x0A


def line_bounds(codes: Codes) -> Indices:
    """Return the bounds of the lines of a text, int64[lines + 1], from 0 to its length; a line keeps its line feed."""
    bounds = np.flatnonzero(codes == _LINE_FEED) + 1
    if not len(bounds) or bounds[-1] != len(codes):
        bounds = np.append(bounds, len(codes))
    return np.concatenate([[0], bounds]) if len(codes) else np.zeros(1, np.int64)


def sentence_bounds(text: str, lang: str) -> Indices:
    """Return the bounds of the sentences of `text`, lines parted by ``\\n``, in `lang` ("zh" or "en").

    int64[sentences + 1], ascending from 0 to ``len(text)``: sentence *i* is ``text[bounds[i] : bounds[i + 1]]``. No sentence
    reaches over a line feed; white space at a cut belongs to the sentence before it. A sentence may be white space only.
    Raises shards.errors.UsageError for another language and EncodingError for a lone surrogate.
    """
    cuts = _CUTS.get(lang)
    if cuts is None:
        raise unknown_name("language", lang, _CUTS)
    codes = code_points(text)
    return np.union1d(line_bounds(codes), cuts(text, codes)).astype(np.int64, copy=False)


def split_sentences(text: str, lang: str) -> list[str]:
    """Return the sentences of `text` without white space at their ends; none is empty. Raises as `sentence_bounds`."""
    bounds = sentence_bounds(text, lang).tolist()
    pieces = (text[begin:end].strip() for begin, end in pairwise(bounds))
    return [piece for piece in pieces if piece]


_CUTS: dict[str, Callable[[str, Codes], Indices]] = {"zh": chinese_cuts, "en": english_cuts}
