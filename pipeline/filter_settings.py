"""Which filters a build applies, as the command line names them: ``--filter NAME[=VALUE]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipeline.filters import (
    Bullets,
    EllipsisLines,
    LanguageShare,
    MinCharacters,
    RepeatedLines,
    RepeatedNgrams,
    Symbols,
    TerminalPunctuation,
    WordLength,
)
from pipeline.stage import Stage
from shards.errors import UsageError, unknown_name

_SCRIPT_OF = {"zh": "han", "en": "latin"}


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """The filters that are on; None, or False, is off. See `pipeline.filters` for each."""

    terminal_punctuation: bool = False
    min_chars: int | None = None
    language: float | None = None
    word_length: float | None = None
    symbols: float | None = None
    bullets: float | None = None
    ellipsis_lines: float | None = None
    repeated_lines: float | None = None
    repeated_ngrams: float | None = None


_DEFAULTS: dict[str, Any] = {
    "terminal_punctuation": True,
    "min_chars": MinCharacters.minimum,
    "language": LanguageShare.minimum,
    "word_length": WordLength.maximum,
    "symbols": Symbols.maximum,
    "bullets": Bullets.maximum,
    "ellipsis_lines": EllipsisLines.maximum,
    "repeated_lines": RepeatedLines.maximum,
    "repeated_ngrams": RepeatedNgrams.maximum,
}
FILTER_NAMES: tuple[str, ...] = tuple(field.name.replace("_", "-") for field in fields(FilterSettings))


def parse_filters(texts: Sequence[str]) -> FilterSettings:
    """Return the filters that ``NAME`` (with its default) or ``NAME=VALUE`` texts turn on; a later one wins.

    Raises UsageError for an unknown name, with the nearest known one, and for a value that is no number.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        key = name.strip().replace("-", "_")
        if key not in _DEFAULTS:
            raise unknown_name("filter", name, FILTER_NAMES)
        values[key] = _number(text, key, value) if equals else _DEFAULTS[key]
    settings = FilterSettings(**values)
    stages_for(settings, None)  # out of range is refused here
    return settings


def _number(text: str, key: str, value: str) -> float | int:
    if key == "terminal_punctuation":
        raise UsageError("filter terminal-punctuation takes no value", got=text)
    try:
        return int(value) if key == "min_chars" else float(value)
    except ValueError:
        expected = "a whole number" if key == "min_chars" else "a number"
        raise UsageError("the value of a filter is no number", expected=expected, got=text) from None


def stages_for(settings: FilterSettings, lang: str | None) -> tuple[Stage, ...]:
    """Return the stages of the filters that are on: lines first, then the cheap, then the costly.

    lang: ``zh``, ``en``, or None for a corpus of both. Raises UsageError for a value out of range.
    """
    stages: list[Stage] = []
    if settings.terminal_punctuation:
        stages.append(TerminalPunctuation())
    if settings.min_chars is not None:
        stages.append(MinCharacters(minimum=settings.min_chars))
    if settings.language is not None:
        stages.append(LanguageShare(script=_SCRIPT_OF.get(lang or "", "either"), minimum=settings.language))
    if settings.symbols is not None:
        stages.append(Symbols(maximum=settings.symbols))
    if settings.bullets is not None:
        stages.append(Bullets(maximum=settings.bullets))
    if settings.ellipsis_lines is not None:
        stages.append(EllipsisLines(maximum=settings.ellipsis_lines))
    if settings.word_length is not None:
        stages.append(WordLength(maximum=settings.word_length))
    if settings.repeated_lines is not None:
        stages.append(RepeatedLines(maximum=settings.repeated_lines))
    if settings.repeated_ngrams is not None:
        stages.append(RepeatedNgrams(maximum=settings.repeated_ngrams))
    return tuple(stages)
