"""What goes on with the character before it: at least what Unicode says, by the clusters of the `regex` library."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.characters import code_points
from pipeline.dictionary import FIRST_HAN, LAST_HAN
from pipeline.graphemes import clear_inside, continuing

CHARACTERS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
SPECIAL = [c for c in CHARACTERS if len(regex.findall(r"\X", f"a{c}a")) < 3]
FAMILY, THUMB, FLAGS, KEYCAP = "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇫🇷🇨🇳", "1\ufe0f\u20e3"


def inside(text: str, bounds: list[int] | None = None) -> list[int]:
    found: list[int] = continuing(code_points(text), np.array(bounds or [0, len(text)], np.int64)).tolist()
    return found


def inside_clusters(text: str) -> set[int]:
    begins = {found.start() for found in regex.finditer(r"\X", text)}
    return {place for place in range(1, len(text)) if place not in begins and not text[place - 1].isspace()}


def test_every_character_between_letters_and_after_each_special_one() -> None:
    assert len(SPECIAL) > 2000
    for around in ("aa", "क क", "👩👩", "가가", "🇩🇪", "\u200d\u1100"):
        before, after = around[0], around[-1]
        text = "\n".join(f"{before}{c}{after}" for c in CHARACTERS if not c.isspace())
        lacking = inside_clusters(text) - set(inside(text))
        assert not {text[place - 2 : place + 2] for place in lacking}
    plain = "\n".join(f"a{c}a" for c in CHARACTERS if c not in SPECIAL)
    more = {plain[place - 1] if plain[place] == "a" else plain[place] for place in inside(plain)}
    assert {unicodedata.category(c)[0] for c in more} <= {"M", "L", "N"} and len(more) < 700


@settings(max_examples=400, deadline=None)
@given(st.text(st.one_of(st.sampled_from(SPECIAL), st.sampled_from("a1 天👩👨🚀क가\u200d🇩🇪🏽"), st.sampled_from(CHARACTERS))))
def test_all_that_is_inside_a_cluster_goes_on(text: str) -> None:
    assert inside_clusters(text) <= set(inside(text))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (f"a{FAMILY}b", [0, 1, 8]),
        (THUMB * 3, [0, 2, 4]),
        (FLAGS, [0, 2, 4]),
        (f"a{FLAGS[:3]}a", [0, 1, 3, 4]),
        (KEYCAP * 2, [0, 3]),
        ("e\u0301\u0302x", [0, 3]),
        ("हिन्दी क्षत्रिय", [0, 2, 6, 7, 10, 14]),
        ("각각", [0, 1]),
        ("\u1112\u1161\u11ab\u1100", [0, 3]),
        ("กำn", [0, 2]),
        ("天\u200d地 \u0301a", [0, 2, 3, 4, 5]),
        ("plain，text。天地か나🚀", list(range(16))),
    ],
)
def test_where_graphemes_begin(text: str, begins: list[int]) -> None:
    assert sorted(set(range(len(text))) - set(inside(text))) == begins


def test_nothing_goes_on_across_sentences() -> None:
    text = f"a\u0301{FLAGS[:2]}{FLAGS[2:4]}\u0301"
    assert inside(text, [0, 1, 3, 6, 7]) == [4]
    assert inside(text, [0, 7]) == [1, 3, 5, 6]
    assert inside("plain") == []


def test_the_first_token_of_what_goes_on_begins_no_word() -> None:
    starts = np.ones(6, np.bool_)
    clear_inside(starts, np.array([0, 2, 2, 3, 5, 5], np.int64), np.array([1, 2, 5, 9], np.int64))
    assert starts.tolist() == [True, False, True, True, False, True]
    clear_inside(starts[:0], np.zeros(0, np.int64), np.array([1], np.int64))


def test_han_is_never_inside() -> None:
    for code in (FIRST_HAN, 0x6708, LAST_HAN):
        assert inside(f"\u200d{chr(code)}क\u094d{chr(code)}") == [3]
