"""Cleaning of one line or paragraph, as named rules.

The rules run in the order of `CLEAN_RULES`; what they do not name stays as it is (no normalisation form is applied, nothing is
case-folded, full-width stays full-width). Two choices that could have gone the other way:

- U+FFFD stays. It marks a loss that happened before the text came here; removing it would hide the loss from filters that
  count it. Tokenizers drop it anyway.
- A zero-width joiner between two emoji stays, and so do the tags of a flag: they decide which picture is seen. Everywhere else
  both are invisible and go.

Rows are split by whoever reads a file, on LF only; an LF that reaches this point is white space like any other.

Cost: everything a rule touches but a repeated space is "not printable" to Python, so `str.isprintable` decides in C whether text
needs more than that; most text that does needs white space only.
"""

from __future__ import annotations

import re

# Each rule carries its version: a changed rule is a changed recipe, and so another data set.
CLEAN_RULES: tuple[str, ...] = (
    "remove_byte_order_marks@1",
    "remove_lone_surrogates@1",
    "remove_noncharacters@1",
    "remove_controls@1",
    "remove_zero_width_and_bidi@1",
    "remove_stray_joiners_and_tags@1",
    "collapse_white_space@1",
    "strip@1",
)

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

_SPACES = re.compile(f"[ {_WHITE_SPACE}]+")
_REMOVED = re.compile(f"[{_BYTE_ORDER_MARK}{_SURROGATES}{_NONCHARACTERS}{_CONTROLS}{_INVISIBLE}]+")
# A flag's tags follow the black flag and end with the cancel tag; that one sequence is kept by being matched first.
_TAG_RUN = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{_TAGS}]+")
_STRAY_JOINER = re.compile(f"(?<![{_EMOJI_END}]){_JOINER}|{_JOINER}(?![{_EMOJI}])")


def clean_text(text: str) -> str:
    """Return one line or paragraph after all of `CLEAN_RULES`; the result may be empty.

    Idempotent: clean_text(clean_text(x)) == clean_text(x). The result holds no white space but single inner U+0020, no control
    character and no lone surrogate, so it can always be written as UTF-8.
    """
    if text.isprintable():
        return (_SPACES.sub(" ", text) if "  " in text else text).strip(" ")
    text = _SPACES.sub(" ", text)
    if not text.isprintable():
        text = _REMOVED.sub("", text)
        if not text.isascii():
            text = _STRAY_JOINER.sub("", _TAG_RUN.sub(lambda found: found[1] or "", text))
        if "  " in text:
            text = _SPACES.sub(" ", text)
    return text.strip(" ")
