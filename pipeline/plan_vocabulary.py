"""A vocabulary like the one that a build would train, from a sample; and how long that training takes.

Two things set a vocabulary of a part apart from one of the whole, and tokens are counted wrong unless both are mended:

1. It cuts the text it was trained on into fewer tokens than other text. Every other stretch is trained on, and all are counted:
   what the one half has too few of, the other has too many of.
2. More text has more distinct characters; each takes a place that a longer piece would have had. How many there will be follows
   from the sample (a power law, as Heaps' law for words), and so many fewer pieces are trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.documents import Ledger
from pipeline.guard import Guard
from pipeline.plan_sample import Stretch
from pipeline.stage import Stage
from pipeline.stages import run_stages
from pipeline.tokenizer_wordpiece import CONTINUES, WordPieceTokenizer
from pipeline.train_wordpiece import train_vocabulary
from pipeline.units import read_unit, unit_format

_MIN_EXPONENT, _MAX_EXPONENT = 0.5, 1.0
_NOTICEABLE = 0.01  # of the vocabulary
_LEAST_SIZE = 128  # holds the special tokens and ASCII

Texts = Callable[[Sequence[Stretch]], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class TrainedVocabulary:
    """A tokenizer that stands for the build's, and the seconds that the build's training will take."""

    tokenizer: WordPieceTokenizer
    seconds: float


def train_on(
    stretches: Sequence[Stretch], size: int, stages: Sequence[Stage], build_bytes: int, on_error: str = "stop"
) -> TrainedVocabulary:
    """Train on every other stretch as if on the `build_bytes` bytes that the build will look at.

    on_error: see `pipeline.guard`. Raises VocabularyError, EmptyCorpusError, EncodingError and StageError, as training does.
    """
    texts = partial(_texts, stages=stages, on_error=on_error)
    half, whole = stretches[::2], stretches
    timed: list[tuple[int, float]] = []
    vocabularies: list[list[str]] = []
    for part in (half, whole):
        begun = time.perf_counter()
        vocabularies.append(train_vocabulary(texts(part), size))
        timed.append((_size(part), time.perf_counter() - begun))
    vocab = vocabularies[0]
    held = [sum(map(_is_character, vocab)) for vocab in vocabularies]
    more = _more_characters(held, stretches, texts, build_bytes)
    if more > _NOTICEABLE * size:
        vocab = train_vocabulary(texts(half), max(size - more, _LEAST_SIZE + held[0]))
    vocab += [f"[unused-{number}]" for number in range(size - len(vocab))]  # ids are stored in a width that `size` decides
    return TrainedVocabulary(tokenizer=WordPieceTokenizer.from_vocab(vocab), seconds=extrapolate(timed[0], timed[1], build_bytes))


def extrapolate(part: tuple[int, float], whole: tuple[int, float], size: int) -> float:
    """Return the seconds for `size` bytes from (bytes, seconds) of a part of a sample and of the whole.

    By t = c · bytes^γ with ½ ≤ γ ≤ 1: counting grows with the text, merging with its distinct words.
    """
    exponent = _MAX_EXPONENT
    if part[0] < whole[0] and min(part[1], whole[1]) > 0:
        exponent = math.log(whole[1] / part[1]) / math.log(whole[0] / part[0])
    exponent = min(max(exponent, _MIN_EXPONENT), _MAX_EXPONENT)
    return whole[1] * math.pow(size / whole[0], exponent)


def _more_characters(held: Sequence[int], stretches: Sequence[Stretch], texts: Texts, build_bytes: int) -> int:
    """Return how many more single characters a vocabulary of `build_bytes` bytes will hold than one of half of the sample.

    `held`: those of the vocabularies of half of the sample and of all of it. Where characters have filled the room they may have,
    these two are equal and nothing is added; otherwise the growth is that of the distinct characters, over a longer range.
    """
    quarter, half, whole = (_size(part) for part in (stretches[::4], stretches[::2], stretches))
    if build_bytes <= half or not quarter < half < whole:
        return 0
    few, many = (len(_characters(texts(part))) for part in (stretches[::4], stretches))
    if not 0 < few <= many or not 0 < held[0] < held[1]:
        return 0
    exponent = min(math.log(many / few) / math.log(whole / quarter), math.log(held[1] / held[0]) / math.log(whole / half))
    return round(held[1] * math.pow(max(build_bytes / whole, 1.0), exponent)) - held[0]


def _characters(texts: Iterator[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        if not text.isascii():
            found.update(text.lower())
    return {character for character in found if not character.isascii()}


def _is_character(token: str) -> bool:
    """Return whether a token is a character that only its occurrence brought into the vocabulary; ASCII always is in it."""
    return len(token.removeprefix(CONTINUES)) == 1 and not token.isascii()


def _size(stretches: Sequence[Stretch]) -> int:
    return sum(stretch.size for stretch in stretches)


def _texts(stretches: Sequence[Stretch], stages: Sequence[Stage], on_error: str) -> Iterator[str]:
    for stretch in stretches:
        for unit in stretch.units:
            guard = Guard(unit.path, on_error)
            documents = guard.reader(unit_format(unit).documents(read_unit(unit), unit.first_row, Ledger()), unit.first_row)
            for document in run_stages(documents, guard.stages(stages), Ledger()):
                yield from document.lines
