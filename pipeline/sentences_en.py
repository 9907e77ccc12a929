"""Where English sentences end.

A cut lies behind the white space after ``. ! ?`` (with closing quotes and brackets), where the next sentence opens with an
upper-case letter, a digit, an opening quote or bracket, or a letter without case. A full stop is no end after an abbreviation
or an initial. Abbreviations that also end sentences (U.S., a.m., Inc.) end one only before a word that usually opens one (The,
He, In, ...): without a dictionary of names this errs on the side of joining.

Whether the word before a full stop may be an abbreviation is told for all of them at once, from its length and its letters
packed into one number; only the few that may are looked at one by one.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from pipeline.characters import Codes, Indices
from pipeline.marks import CLOSERS, OPENERS, CharacterTable, after, find_runs

_ENDS, _CLOSES = 1, 2
_TABLE = CharacterTable({_ENDS: ".!?…", _CLOSES: CLOSERS})
_WHITE = CharacterTable({1: "".join(c for c in map(chr, range(1 << 16)) if c.isspace() and c != "\n")})
_FIRST_WORD = re.compile(r"[A-Za-z]+")
_WHITE_SPACE = re.compile(r"[^\S\n]*")
_OPENERS = frozenset(OPENERS)
_BEFORE_WORD = OPENERS + "-–—/."
_STOP, _LINE_FEED = 0x2E, 0x0A


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never the last word of a sentence: titles, and words that point at what follows.
_TITLES = _words(
    "mr mrs ms dr prof rev hon gen col lt capt cmdr adm maj sgt cpl pvt gov sen rep pres supt insp messrs mme mlle st mt ft fr "
    "sr br msgr e.g i.e cf viz vs v al ca approx eds ed trans illus repr nr"
)
# Before a number only: "No. 5", "vol. 2", "p. 10", "Jan. 3".
_BEFORE_NUMBER = _words(
    "no nos vol vols p pp pg ch chap sec sect art fig figs eq eqs ex par para pt ver op cat c n nn "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
# Either inside or at the end of a sentence: what follows decides.
_EITHER = _words(
    "inc ltd co corp llc plc bros jr sr etc esq ave blvd rd dept est univ assn natl intl dist mfg "
    "ph.d m.d b.a m.a b.sc m.sc d.c a.m p.m u.s u.k u.n e.u u.s.a u.s.s.r b.c a.d b.c.e c.e"
)
_OPENING_WORDS = _words(
    "the a an this that these those he she it we they i you his her its our their my your there here in on at by "
    "for from with as after before during since while when where if although though however but and so then thus "
    "meanwhile moreover furthermore many most some several all both each one two another other such no not what who "
    "why how according because despite under over between until once also today later"
)
_WINDOW = 8  # characters looked at before a full stop; longer than any abbreviation without a full stop inside


def _packed(word: str) -> int:
    return int.from_bytes(word.encode("ascii"), "big")


_ABBREVIATIONS = np.array(sorted(_packed(w) for w in _TITLES | _BEFORE_NUMBER | _EITHER if "." not in w), np.uint64)


def english_cuts(text: str, codes: Codes) -> Indices:
    """Return the places where a sentence begins inside a line of `text`, ascending; `codes` are its code points."""
    runs = find_runs(_TABLE.of(codes))
    if not len(runs.place):
        return np.zeros(0, np.int64)
    # Of each run that white space follows: its last ender, with nothing but closers after it.
    number = np.arange(len(runs.place))
    is_ender = runs.kind == _ENDS
    last_ender = np.maximum.accumulate(np.where(is_ender, number, -1))[runs.last]
    follows = runs.place[runs.last] + 1
    usable = (last_ender >= runs.first) & _is_space(after(codes, follows))
    last_ender, follows = last_ender[usable], follows[usable]
    # The first of the enders that stand together there.
    begins_group = is_ender & ~np.concatenate([[False], is_ender[:-1] & (np.diff(runs.place) == 1)])
    group = np.maximum.accumulate(np.where(begins_group, number, -1))
    stop = runs.place[group[last_ender]]

    cut = follows + 1
    for i in np.flatnonzero(_is_space(after(codes, cut))).tolist():  # more white space than one
        cut[i] = _end_of_white_space(text, int(follows[i]))
    opens = _opens_sentence(after(codes, cut))
    stop, cut = stop[opens], cut[opens]
    full_stop = (codes[stop] == _STOP) & (after(codes, stop + 1) != _STOP)
    doubtful = np.flatnonzero(full_stop)
    doubtful = doubtful[_may_be_abbreviation(codes, stop[doubtful])]
    keep = np.ones(len(cut), np.bool_)
    for i in doubtful.tolist():
        keep[i] = not _goes_on(text, int(stop[i]), int(cut[i]))
    return cut[keep]


def _is_space(codes: Codes) -> NDArray[np.bool_]:
    """Return which characters are white space, the line feed left out."""
    return _WHITE.of(codes).view(np.bool_)


def _end_of_white_space(text: str, begin: int) -> int:
    found = _WHITE_SPACE.match(text, begin)
    assert found is not None
    return found.end()


def _opens_sentence(codes: Codes) -> NDArray[np.bool_]:
    distinct, which = np.unique(codes, return_inverse=True)
    opens: NDArray[np.bool_] = np.array([_opens(chr(code)) for code in distinct.tolist()], np.bool_)[which]
    return opens


def _opens(character: str) -> bool:
    if character.isalpha():
        return not character.islower()
    return character.isdigit() or character in _OPENERS


def _may_be_abbreviation(codes: Codes, stop: Indices) -> NDArray[np.bool_]:
    """Return which of the words before the full stops at `stop` may be abbreviations or initials; errs on the side of yes."""
    if not len(stop):
        return np.zeros(0, np.bool_)
    before = stop[:, None] - np.arange(1, _WINDOW + 1)
    window = np.where(before >= 0, codes[np.maximum(before, 0)], _LINE_FEED).astype(np.uint32)  # nearest first
    lowered = window | 0x20
    letter = (lowered >= 0x61) & (lowered <= 0x7A)
    letters = np.where(letter.all(axis=1), _WINDOW, np.argmin(letter, axis=1))
    border = window[np.arange(len(stop)), np.minimum(letters, _WINDOW - 1)]
    alone = (border == 0x20) | (border == _LINE_FEED)
    packed = np.zeros(len(stop), np.uint64)
    for i in range(_WINDOW - 1, -1, -1):
        inside = i < letters
        packed[inside] = (packed[inside] << np.uint64(8)) | lowered[inside, i].astype(np.uint64)
    known = np.isin(packed, _ABBREVIATIONS)
    # A plain word between white space and the full stop is looked up; long ones are words; what ends in a digit or in a
    # closing mark is neither abbreviation nor initial.
    plain_word = (letters >= 2) & ((alone & ~known) | (letters == _WINDOW))
    nearest = window[:, 0]
    no_letter = (letters == 0) & (nearest < 0x80) & (nearest != _STOP)
    doubtful: NDArray[np.bool_] = ~(plain_word | no_letter)
    return doubtful


def _goes_on(text: str, stop: int, following: int) -> bool:
    """Return whether the full stop at `stop` belongs to an abbreviation that does not end its sentence."""
    # 16 characters hold the longest abbreviation; the window keeps a line without spaces from costing its square.
    window = max(0, stop - 16)
    begin = max(text.rfind(" ", window, stop) + 1, text.rfind("\n", window, stop) + 1, window)
    word = text[begin:stop].lstrip(_BEFORE_WORD)
    if not word:
        return False
    lowered = word.lower()
    if lowered in _TITLES and (word[0].isupper() or "." in word or len(word) < 4):
        return True
    if lowered in _BEFORE_NUMBER and text[following].isdigit():
        return True
    initials = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if lowered in _EITHER or initials:
        opening = _FIRST_WORD.match(text, following)
        return opening is None or opening[0].lower() not in _OPENING_WORDS
    return len(word) == 1 and word.isupper() and word != "I"
