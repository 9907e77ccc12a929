"""Which characters go on with the one before: what a reader takes for one is never parted.

A grapheme here is an extended grapheme cluster of Unicode (UAX 29) or more: a letter goes on with the virama before it in every
script, anything with a joiner. Two kinds never go on: what follows white space, and Han, whose words are the segmenter's.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.kind_table import KindTable

Indices = NDArray[np.int64]

_PLAIN, _SPACE, _LETTER, _EXTENDS, _JOINS, _LINKS, _LEADS, _FLAG = range(8)
_JOINER = "\u200d"
# What goes on beside marks of category M: the non-joiner, modifiers of emoji, tags, half-width voice marks, Thai and Lao AM,
# vowels and finals of Hangul.
_EXTENDING = re.compile("[\u200c\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\uff9e\uff9f\u0e33\u0eb3\u1160-\u11ff\ud7b0-\ud7ff]")
# What is followed by more of the same: initials of Hangul, signs before numbers and letters.
_LEADING = re.compile(
    "[\u1100-\u115f\ua960-\ua97f\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\u1cf5\u1cf6\U000110bd\U000110cd\U000111c2\U000111c3"
    "\U0001193f\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02]"
)
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")  # two make a flag
_VIRAMA = 9  # canonical combining class
# Below the first, and from the second up to the third, nothing goes on and nothing leads: nearly all of most texts.
_FIRST, _PLAIN_FROM, _PLAIN_TO = 0x300, 0x3100, 0xA66F


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    if character == _JOINER:
        return _JOINS
    if _FLAG_LETTER.match(character):
        return _FLAG
    if _LEADING.match(character):
        return _LEADS
    if unicodedata.combining(character) == _VIRAMA:
        return _LINKS
    if _EXTENDING.match(character) or unicodedata.category(character)[0] == "M":
        return _EXTENDS
    return _LETTER if character.isalpha() and not FIRST_HAN <= ord(character) <= LAST_HAN else _PLAIN


_KINDS = KindTable(_kind)


def continuing(codes: Codes, bounds: Indices) -> Indices:
    """Return the places of the characters that go on with the one before, ascending.

    `bounds`, ascending from 0, are where sentences begin: nothing goes on there.
    """
    none = np.zeros(0, np.int64)
    if codes.dtype == np.uint8:
        return none
    rare = np.flatnonzero((codes >= _FIRST) & ((codes - codes.dtype.type(_PLAIN_FROM)) >= _PLAIN_TO - _PLAIN_FROM))
    kinds = _KINDS.of(codes[rare])
    special = kinds >= _EXTENDS
    if not special.any():
        return none
    places, kinds = rare[special], kinds[special]
    extends = kinds <= _LINKS
    found = np.concatenate(
        [
            places[extends],
            _led(codes, places[(kinds == _JOINS) | (kinds == _LEADS)]),
            _linked(codes, places, extends, np.flatnonzero(kinds == _LINKS)),
            _second_of_flags(places[kinds == _FLAG], bounds),
        ]
    )
    found = np.unique(found[~_holds(bounds, found)])
    inside: Indices = found[_KINDS.of(codes[found - 1]) != _SPACE]
    return inside


def clear_inside(starts: NDArray[np.bool_], places: Indices, inside: Indices) -> None:
    """Take the word start from the first token of each character of `inside`.

    `starts`: bool[T]; `places`: int64[T], the character that each of the T tokens comes from, ascending.
    """
    if len(inside) and len(places):
        first = np.minimum(np.searchsorted(places, inside), len(places) - 1)
        starts[first[places[first] == inside]] = False


def _led(codes: Codes, leads: Indices) -> Indices:
    """Return what stands behind joiners and leading signs."""
    behind = leads + 1
    behind = behind[behind < len(codes)]
    after = codes[behind]
    led: Indices = behind[(_KINDS.of(after) != _SPACE) & ((after < FIRST_HAN) | (after > LAST_HAN))]
    return led


def _linked(codes: Codes, places: Indices, extends: NDArray[np.bool_], links: Indices) -> Indices:
    """Return the letters behind runs of marks, ``places[extends]``, from those that link, ``places[links]``."""
    if not len(links):
        return links
    more = np.zeros(len(places), np.bool_)
    more[:-1] = extends[1:] & (np.diff(places) == 1)
    last = np.flatnonzero(~more)
    behind = places[last[np.searchsorted(last, links)]] + 1
    behind = behind[behind < len(codes)]
    linked: Indices = behind[_KINDS.of(codes[behind]) == _LETTER]
    return linked


def _second_of_flags(letters: Indices, bounds: Indices) -> Indices:
    """Return every second of the flag letters of each run."""
    first = np.ones(len(letters), np.bool_)
    first[1:] = np.diff(letters) != 1
    first |= _holds(bounds, letters)
    number = np.arange(len(letters))
    second: Indices = letters[(number - np.maximum.accumulate(np.where(first, number, 0))) % 2 == 1]
    return second


def _holds(bounds: Indices, places: Indices) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(bounds, places), len(bounds) - 1)
    held: NDArray[np.bool_] = bounds[at] == places
    return held
