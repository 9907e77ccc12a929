"""The rules of `pipeline.sentences` written plainly, one place after another: what the fast form is compared with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from shards.errors import unknown_name

_CLOSERS = "\"'”’」』）】》〉〗〕］｝)\\]}"
_OPENERS = "\"'“‘「『（【《〈([{¿¡"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

_ZH_END = re.compile(f"[。！？；…!?;][。！？；…!?;{_CLOSERS}]*")
_ZH_STRONG = frozenset("。！？…")
_ZH_GOES_ON = frozenset("，、,：:")
_ZH_TITLE_CLOSERS = ("》", "〉")
_ZH_OPENS = re.compile(f"\\s*(?:[{_HAN}“‘「『（【《〈]|\\Z)")
# A run of marks is tried at its first only (the look-behind): from each would cost the square of its length. The look-behind
# stands after the first mark because a pattern that opens with a set of characters is searched for faster.
_EN_END = re.compile(f"[.!?…](?<![.!?…]{{2}})[.!?…]*[{_CLOSERS}]*\\s+")
_EN_FIRST_WORD = re.compile(r"[A-Za-z]+")
_EN_OPENERS = frozenset(_OPENERS)
_EN_BEFORE_WORD = _OPENERS + "-–—/."


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


def split_sentences(text: str, lang: str) -> list[str]:
    """Return the sentences of one cleaned paragraph in `lang` ("zh" or "en"); an empty list for white space only.

    Lossless: ``"".join(sentences)`` equals `text` up to white space at the cuts. No sentence is empty, begins or ends with white
    space.
    Raises shards.errors.UsageError for another language.
    """
    cuts = _CUTS.get(lang)
    if cuts is None:
        raise unknown_name("language", lang, _CUTS)
    sentences, begin = [], 0
    for cut in cuts(text):
        piece = text[begin:cut].strip()
        if piece:
            sentences.append(piece)
        begin = cut
    piece = text[begin:].strip()
    if piece:
        sentences.append(piece)
    return sentences


def _chinese_cuts(text: str) -> Iterator[int]:
    straight_quotes = '"' in text
    quotes_before, counted_to = 0, 0
    for found in _ZH_END.finditer(text):
        begin, end = found.span()
        if text[end : end + 1] in _ZH_GOES_ON or text[end - 1] in _ZH_TITLE_CLOSERS:
            continue
        if text[begin] not in _ZH_STRONG and _ZH_STRONG.isdisjoint(found[0]) and not _weak_mark_ends(text, found):
            continue
        if straight_quotes:
            # A straight quote closes only what one has opened; otherwise it belongs to what follows.
            quotes_before += text.count('"', counted_to, begin)
            counted_to = begin
            at = found[0].find('"')
            if at >= 0 and quotes_before % 2 == 0:
                end = begin + at
        yield end


def _weak_mark_ends(text: str, found: re.Match[str]) -> bool:
    """Return whether a run of ``；!?;`` alone ends a sentence."""
    begin, end = found.span()
    if "；" in found[0]:
        return not (text[begin - 1 : begin].isdigit() and text[end : end + 1].isdigit())
    return _ZH_OPENS.match(text, end) is not None


def _english_cuts(text: str) -> Iterator[int]:
    for found in _EN_END.finditer(text):
        end = found.end()
        if end == len(text):
            return
        if _opens_sentence(text[end]) and not (text[found.start()] == "." and _goes_on(text, found)):
            yield end


def _opens_sentence(character: str) -> bool:
    if character.isalpha():
        return not character.islower()
    return character.isdigit() or character in _EN_OPENERS


def _goes_on(text: str, found: re.Match[str]) -> bool:
    """Return whether the full stop at `found` belongs to an abbreviation that does not end its sentence."""
    stop = found.start()
    if text.startswith("..", stop):
        return False
    # 16 characters hold the longest abbreviation; the window keeps a paragraph without spaces from costing its square.
    window = max(0, stop - 16)
    word = text[max(text.rfind(" ", window, stop) + 1, window) : stop].lstrip(_EN_BEFORE_WORD)
    if not word:
        return False
    following = text[found.end()]
    lowered = word.lower()
    if lowered in _TITLES and (word[0].isupper() or "." in word or len(word) < 4):
        return True
    if lowered in _BEFORE_NUMBER and following.isdigit():
        return True
    initials = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if lowered in _EITHER or initials:
        opening = _EN_FIRST_WORD.match(text, found.end())
        return opening is None or opening[0].lower() not in _OPENING_WORDS
    return len(word) == 1 and word.isupper() and word != "I"


_CUTS: dict[str, Callable[[str], Iterator[int]]] = {"zh": _chinese_cuts, "en": _english_cuts}
