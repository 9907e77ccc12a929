"""Filters of whole documents, and of lines, in the manner of Gopher and C4; each says where its threshold comes from.

Gopher: Rae et al. 2021, Scaling Language Models, appendix A1 and table A1. C4: Raffel et al. 2020, Exploring the Limits of
Transfer Learning, section 2.2. Both are made for English; where they count words, Chinese text is counted in Han characters, and
n-grams are longer. Which of the two applies is decided by each document's own tokens.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.documents import Document, Drop
from pipeline.rolling_hash import code_points, prefix_sums, windows
from pipeline.stage import Edited, Stage, keep_lines
from pipeline.text_tokens import HAN, LATIN, LETTER, character_classes, tokenize
from shards.errors import UsageError

SCRIPTS = ("han", "latin", "either")
VERSION = 1

_ELLIPSIS = re.compile(r"…+|\.\.\.+")
_BULLETS = tuple("•‣⁃∙▪▫■□●○◦·*-–")
_ELLIPSIS_ENDS = ("…", "...")
_TERMINAL = tuple(".!?\"'”’。！？…；」』")


class _Filter:
    """What filters share: a description made of their fields."""

    name: str

    @property
    def description(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"name": self.name, "version": VERSION} | values


def _require_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"filter {name} takes a share from 0 to 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class MinCharacters(_Filter):
    """Drop documents of fewer characters (``too_short``). Default as PaddleNLP's ``--min_doc_length``."""

    name = "min_chars"
    minimum: int = 10

    def __post_init__(self) -> None:
        if self.minimum < 0:
            raise UsageError(f"filter min-chars takes a number of characters, got {self.minimum}")

    def __call__(self, document: Document) -> Document | Drop:
        return document if len(document.text) - len(document.rows) + 1 >= self.minimum else Drop(reason="too_short")


@dataclass(frozen=True, kw_only=True)
class LanguageShare(_Filter):
    """Drop documents whose letters are too seldom of the language's script (``other_language``).

    script: han, latin, or either, which takes the greater share. Default 0.3, ours: a Latin word counts for its five letters and
    a Chinese one for its one or two, so that text rich in foreign names stays.
    """

    name = "language"
    script: str = "either"
    minimum: float = 0.3

    def __post_init__(self) -> None:
        _require_share("language", self.minimum)
        if self.script not in SCRIPTS:
            raise UsageError("unknown script", expected=" or ".join(SCRIPTS), got=self.script)

    def __call__(self, document: Document) -> Document | Drop:
        counts = np.bincount(character_classes(code_points(document.text)), minlength=HAN + 1)
        letters = int(counts[LETTER] + counts[LATIN] + counts[HAN])
        han, latin = int(counts[HAN]), int(counts[LATIN])
        wanted = {"han": han, "latin": latin, "either": max(han, latin)}[self.script]
        return document if letters and wanted >= self.minimum * letters else Drop(reason="other_language")


@dataclass(frozen=True, kw_only=True)
class RepeatedLines(_Filter):
    """Drop documents of which too many lines, or characters in lines, repeat a line before (``repeated_lines``; table A1)."""

    name = "repeated_lines"
    maximum: float = 0.30
    maximum_characters: float = 0.20

    def __post_init__(self) -> None:
        _require_share("repeated-lines", self.maximum)
        _require_share("repeated-lines (characters)", self.maximum_characters)

    def __call__(self, document: Document) -> Document | Drop:
        lines = document.lines
        if len(set(lines)) == len(lines):
            return document
        repeats = Counter(lines)
        repeats.subtract(set(lines))
        characters = sum(len(line) * count for line, count in repeats.items())
        many = repeats.total() > self.maximum * len(lines)
        long = characters > self.maximum_characters * (len(document.text) - len(lines) + 1)
        return Drop(reason="repeated_lines") if many or long else document


@dataclass(frozen=True, kw_only=True)
class RepeatedNgrams(_Filter):
    """Drop documents of whose tokens too many lie in n-grams that occur more than once (``repeated_ngrams``).

    words, characters: tokens of an n-gram in English and in Chinese. Table A1 allows 5-grams of words a share of 0.15 of the
    characters. 8 Han characters would be as long, but long names repeat by nature in short Chinese articles; at 13 as many
    articles of the Chinese Wikipedia go as of the English one (2 %). A token in several repeated n-grams counts once.
    """

    name = "repeated_ngrams"
    maximum: float = 0.15
    words: int = 5
    characters: int = 13

    def __post_init__(self) -> None:
        _require_share("repeated-ngrams", self.maximum)
        if min(self.words, self.characters) < 1:
            raise UsageError(f"an n-gram takes at least one token, got {self.words} words, {self.characters} characters")

    def __call__(self, document: Document) -> Document | Drop:
        tokens = tokenize(document.text)
        width = self.characters if tokens.is_chinese else self.words
        grams = windows(prefix_sums(tokens.hashes), width)
        ordered = np.sort(grams)
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(repeated):
            return document
        begins = np.flatnonzero(np.isin(grams, repeated))
        covered = np.zeros(len(tokens) + 1, np.int64)
        np.add.at(covered, begins, 1)
        np.add.at(covered, begins + width, -1)
        inside = np.cumsum(covered)[:-1] > 0
        lengths = tokens.end - tokens.begin
        return Drop(reason="repeated_ngrams") if lengths[inside].sum() > self.maximum * lengths.sum() else document


@dataclass(frozen=True, kw_only=True)
class Symbols(_Filter):
    """Drop documents with more than `maximum` hash signs, or ellipses, a token (``symbols``; Gopher A1: 0.1)."""

    name = "symbols"
    maximum: float = 0.1

    def __post_init__(self) -> None:
        _require_share("symbols", self.maximum)

    def __call__(self, document: Document) -> Document | Drop:
        text = document.text
        hashes = text.count("#")
        ellipses = len(_ELLIPSIS.findall(text)) if "…" in text or "..." in text else 0
        if not hashes and not ellipses:
            return document
        return Drop(reason="symbols") if max(hashes, ellipses) > self.maximum * len(tokenize(text)) else document


@dataclass(frozen=True, kw_only=True)
class Bullets(_Filter):
    """Drop documents of which more than `maximum` of the lines begin with a bullet (``bullets``; Gopher A1: 0.9)."""

    name = "bullets"
    maximum: float = 0.9

    def __post_init__(self) -> None:
        _require_share("bullets", self.maximum)

    def __call__(self, document: Document) -> Document | Drop:
        lines = document.lines
        found = sum(line.startswith(_BULLETS) for line in lines)
        return Drop(reason="bullets") if found > self.maximum * len(lines) else document


@dataclass(frozen=True, kw_only=True)
class EllipsisLines(_Filter):
    """Drop documents of which more than `maximum` of the lines end with an ellipsis (``ellipsis_lines``; Gopher A1: 0.3)."""

    name = "ellipsis_lines"
    maximum: float = 0.3

    def __post_init__(self) -> None:
        _require_share("ellipsis-lines", self.maximum)

    def __call__(self, document: Document) -> Document | Drop:
        lines = document.lines
        found = sum(line.endswith(_ELLIPSIS_ENDS) for line in lines)
        return Drop(reason="ellipsis_lines") if found > self.maximum * len(lines) else document


@dataclass(frozen=True, kw_only=True)
class WordLength(_Filter):
    """Drop documents whose words have a mean length outside of the bounds (``word_length``; Gopher A1: 3 to 10).

    Chinese documents, whose tokens are mostly Han characters, pass.
    """

    name = "word_length"
    minimum: float = 3.0
    maximum: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum:
            raise UsageError(f"filter word-length takes bounds in order, got {self.minimum} to {self.maximum}")

    def __call__(self, document: Document) -> Document | Drop:
        tokens = tokenize(document.text)
        if tokens.is_chinese:
            return document
        mean = float((tokens.end - tokens.begin)[~tokens.han].mean()) if len(tokens) else 0.0
        return document if self.minimum <= mean <= self.maximum else Drop(reason="word_length")


@dataclass(frozen=True, kw_only=True)
class TerminalPunctuation(_Filter):
    """Take out lines that do not end like a sentence (``no_terminal_punctuation``; C4: full stop, question or exclamation mark,
    closing quotation mark; their Chinese forms too)."""

    name = "terminal_punctuation"

    def __call__(self, document: Document) -> Document | Edited | Drop:
        lines = [line if line.endswith(_TERMINAL) else "" for line in document.lines]
        lost = [(row, "no_terminal_punctuation") for line, row in zip(lines, document.rows, strict=True) if not line]
        return keep_lines(document, lines, lost) if lost else document


_FILTERS: dict[str, Any] = {
    kind.name: kind
    for kind in (
        MinCharacters, LanguageShare, RepeatedLines, RepeatedNgrams, Symbols, Bullets, EllipsisLines, WordLength,
        TerminalPunctuation,
    )
}  # fmt: skip
FILTER_STAGES: tuple[str, ...] = tuple(_FILTERS)


def make_filter(description: Mapping[str, Any]) -> Stage:
    """Return the filter that a recipe describes. Raises UsageError for one that this version does not have."""
    values = {key: value for key, value in description.items() if key not in ("name", "version")}
    if description.get("version") != VERSION:
        raise UsageError(f"filter {description['name']} of another version", expected=VERSION, got=description.get("version"))
    stage: Stage = _FILTERS[description["name"]](**values)
    return stage
