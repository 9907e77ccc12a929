"""Cleaning of the characters of one line or paragraph, as named rules.

The rules run in the order of `CLEAN_RULES`; what they do not name stays as it is (no normalisation form is applied, nothing is
case-folded). Three choices that could have gone the other way:

- Full-width ASCII letters and digits become half-width: they are the same words in another shape. Full-width punctuation stays:
  `，`, `！` and `（` are Chinese punctuation, and every Chinese vocabulary holds them.
- U+FFFD stays. It marks a loss that happened before the text came here; removing it would hide the loss from filters that
  count it. Tokenizers drop it anyway.
- A zero-width joiner between two emoji stays, and so do the tags of a flag: they decide which picture is seen. Everywhere else
  both are invisible and go.

Rows are split by whoever reads a file, on LF only; an LF that reaches this point is white space like any other.

`clean_text` applies all of these rules and no other: it is what text meets at inference too. Rules on markup and on whole lines
belong to corpora, and are in `clean_markup` and `boilerplate`; `clean_stage` puts them together.

Cost: everything a rule touches but a repeated space and a full-width character is "not printable" to Python, so
`str.isprintable` decides in C whether text needs more than that; most text that does needs white space only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial

# Each rule carries its version: a changed rule is a changed recipe, and so another data set.
CLEAN_RULES: tuple[str, ...] = (
    "remove_byte_order_marks@1",
    "remove_lone_surrogates@1",
    "remove_noncharacters@1",
    "remove_controls@1",
    "remove_zero_width_and_bidi@1",
    "remove_stray_joiners_and_tags@1",
    "fold_full_width@1",
    "collapse_white_space@1",
    "strip@1",
)

# What reads, splits and stores text relies on these three: they cannot be left out.
REQUIRED_RULES: tuple[str, ...] = ("remove_lone_surrogates@1", "collapse_white_space@1", "strip@1")

_BYTE_ORDER_MARK = "\ufeff"
_SURROGATES = "\ud800-\udfff"
_NONCHARACTERS = "\ufdd0-\ufdef\ufffe\uffff" + "".join(
    f"{chr(p | 0xFFFE)}{chr(p | 0xFFFF)}" for p in range(0x10000, 0x110000, 0x10000)
)
# C0, DEL and C1, save those that move the pen: HT, LF, VT, FF, CR and NEL are white space below.
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
# Soft hyphen, Arabic letter mark, Mongolian vowel separator, zero-width space and non-joiner, directional marks, embeddings,
# isolates, word joiner, invisible operators, deprecated format characters, interlinear annotation, deprecated language tag.
_INVISIBLE = "\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufff9-\ufffb\U000e0001"
_JOINER = "\u200d"
_TAGS = "\U000e0020-\U000e007f"
_WHITE_SPACE = "\t\n\v\f\r\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_EMOJI = "\u00a9\u00ae\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_EMOJI_END = _EMOJI + "\ufe0f\u20e3" + _TAGS

_REMOVED_BY = {
    "remove_byte_order_marks@1": _BYTE_ORDER_MARK,
    "remove_lone_surrogates@1": _SURROGATES,
    "remove_noncharacters@1": _NONCHARACTERS,
    "remove_controls@1": _CONTROLS,
    "remove_zero_width_and_bidi@1": _INVISIBLE,
}
_FULL_WIDTH = "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a"  # digits and letters; the punctuation between them stays
_FOLDED = {code: code - 0xFEE0 for a, b in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A)) for code in range(a, b + 1)}
# Every character of the Basic Multilingual Plane that a rule here may touch but the space and the line feed. Beyond that plane
# one range stands for the few: characters there are rare, and a class of one range is searched at many times the speed.
TOUCHED = (
    f"{_BYTE_ORDER_MARK}{_SURROGATES}\ufdd0-\ufdef\ufffe\uffff{_CONTROLS}{_INVISIBLE[:-1]}{_JOINER}"
    f"{_WHITE_SPACE.replace(chr(10), '')}{_FULL_WIDTH}\U00010000-\U0010ffff"
)

# All but the single plain space, which most text is full of: a list of the pieces between would take a gigabyte for a long line.
_SPACES = re.compile(f"[{_WHITE_SPACE}][ {_WHITE_SPACE}]*| [ {_WHITE_SPACE}]+")
_FOLDABLE = re.compile(f"[{_FULL_WIDTH}]+")
# A flag's tags follow the black flag and end with the cancel tag; that one sequence is kept by being matched first.
_TAG_RUN = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{_TAGS}]+")
_STRAY_JOINER = re.compile(f"(?<![{_EMOJI_END}]){_JOINER}|{_JOINER}(?![{_EMOJI}])")

# A giant line is cleaned in portions, for each step makes a copy. Between two of these characters no rule acts.
_PORTION_CHARACTERS = 1 << 20
_UNTOUCHED_PAIR = re.compile("[0-9A-Za-z\u4e00-\u9fff]{2}")


def _remove_strays(text: str) -> str:
    return text if text.isascii() else _STRAY_JOINER.sub("", _TAG_RUN.sub(lambda found: found[1] or "", text))


def _fold(text: str) -> str:
    return text if text.isascii() else _FOLDABLE.sub(lambda found: found[0].translate(_FOLDED), text)


def _collapse(text: str) -> str:
    return _SPACES.sub(" ", text) if "  " in text or not text.isprintable() else text


def _strip(text: str) -> str:
    return text.strip(" ")


def make_clean_text(rules: Collection[str]) -> Callable[[str], str]:
    """Return the function that applies those of `CLEAN_RULES` which are in `rules`; `REQUIRED_RULES` are applied in any case.

    What it returns is idempotent, and the text it returns holds no white space but single inner U+0020 and no lone surrogate,
    so it can always be written as UTF-8 on one line.
    """
    wanted = {*rules, *REQUIRED_RULES}
    removed = re.compile(f"[{''.join(characters for rule, characters in _REMOVED_BY.items() if rule in wanted)}]+")
    strays = "remove_stray_joiners_and_tags@1" in wanted
    fold = "fold_full_width@1" in wanted

    def clean(text: str) -> str:
        if not text.isprintable():
            # The two most frequent by far, at a tenth of the pattern's cost, which has to stop at every plain space.
            text = text.replace("\u00a0", " ").replace("\u3000", " ")
            if not text.isprintable():
                text = _SPACES.sub(" ", text)
            if not text.isprintable():
                text = removed.sub("", text)
                if strays:
                    text = _remove_strays(text)
        if fold:
            text = _fold(text)
        return (_SPACES.sub(" ", text) if "  " in text else text).strip(" ")

    def clean_portions(text: str) -> str:
        return clean(text) if len(text) <= _PORTION_CHARACTERS else "".join([clean(portion) for portion in _portions(text)])

    return clean_portions


def _portions(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        found = _UNTOUCHED_PAIR.search(text, begin + _PORTION_CHARACTERS)
        end = found.start() + 1 if found else len(text)
        yield text[begin:end]
        begin = end


# Every rule by itself. Those that take out or keep characters which are not printable come first.
_UNPRINTABLE: dict[str, Callable[[str], str]] = {
    **{rule: partial(re.compile(f"[{characters}]+").sub, "") for rule, characters in _REMOVED_BY.items()},
    "remove_stray_joiners_and_tags@1": _remove_strays,
}
_PRINTABLE: dict[str, Callable[[str], str]] = {
    "fold_full_width@1": _fold,
    "collapse_white_space@1": _collapse,
    "strip@1": _strip,
}


def make_changing_rules(rules: Collection[str]) -> Callable[[str], list[str]]:
    """Return the function that names the rules, in order, that change a text, each given what those before it left.

    It is for texts that `make_clean_text` of the same rules changes: those pay for being looked at once more, the others not.
    """
    wanted = {*rules, *REQUIRED_RULES}
    unprintable = [(rule, apply) for rule, apply in _UNPRINTABLE.items() if rule in wanted]
    printable = [(rule, apply) for rule, apply in _PRINTABLE.items() if rule in wanted]

    def changing(text: str) -> list[str]:
        found: list[str] = []
        # White space apart, which is what most changed lines have too much of, a printable text passes the first group.
        for rule, apply in printable if _collapse(text).isprintable() else (*unprintable, *printable):
            after = apply(text)
            if after != text:
                found.append(rule)
                text = after
        return found

    def changing_portions(text: str) -> list[str]:
        if len(text) <= _PORTION_CHARACTERS:
            return changing(text)
        found = {rule for portion in _portions(text) for rule in changing(portion)}
        return [rule for rule in CLEAN_RULES if rule in found]

    return changing_portions


_clean_text = make_clean_text(CLEAN_RULES)


def clean_text(text: str) -> str:
    """Return one line or paragraph after all of `CLEAN_RULES`; the result may be empty.

    Idempotent: clean_text(clean_text(x)) == clean_text(x). The result holds no white space but single inner U+0020, no control
    character and no lone surrogate, so it can always be written as UTF-8.
    """
    return _clean_text(text)
