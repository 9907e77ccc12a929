"""clean_text: what each rule removes, what it leaves, and that a second pass changes nothing."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean import CLEAN_RULES, TOUCHED, clean_text

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            " \t\n\r\v\f\x00\x1c\x85\x7f\xa0\xad\u3000\u2028\u200b\u200c\u200d\u202e\u2060\ufeff\ufffd\ufe0f\ufffe中a!"
        ),
        st.sampled_from("\U0001f468\U0001f469\U0001f3f4\U000e0067\U000e007f\U0001f3fd\u2764\ud83d\ude00\U00020bb7"),
        st.characters(codec=None),
    )
)


def is_full_width(character: str) -> bool:
    return "\uff10" <= character <= "\uff5a" and character.isalnum()


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("\ufeff中文", "中文"),
        ("中\ufeff文", "中文"),
        ("a\x00b\x07c\x7fd\x9fe", "abcde"),
        ("a\tb\r\nc\vd\fe", "a b c d e"),
        ("a\x85b\u2028c\u2029d", "a b c d"),
        ("a\x1c\x1d\x1e\x1fb", "ab"),
        ("\u3000第一\u3000\xa0\u2003章 \u202f", "第一 章"),
        ("a  b", "a b"),
        ("  ", ""),
        ("", ""),
        ("中\u200b文\u200c字\u200d", "中文字"),
        ("abc\u202edef\u2066\u200f", "abcdef"),
        ("co\u00adoperate", "cooperate"),
        ("a\ud83db", "ab"),
        ("a\ufdd0\uffff\U0001fffeb", "ab"),
        ("Ａ１ｚ９，ＡＢ！（ｘ）", "A1z9，AB！（x）"),
    ],
)
def test_rule(dirty: str, clean: str) -> None:
    assert clean_text(dirty) == clean


@pytest.mark.parametrize(
    "text",
    [
        "这是一句没有问题的话，“全角”标点（都）留下：！？；％＋。",
        "e\u0301 and é stay as they are",
        "a loss stays visible: \ufffd",
        f"family {FAMILY} stays one",
        "skin \U0001f44d\U0001f3fd, heart \u2764\ufe0f\u200d\U0001f525, flag \U0001f1e8\U0001f1f3",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "𠮷野家 㐀 豈",
        "السلام עולם",
    ],
)
def test_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


def test_tags_without_a_flag_go() -> None:
    assert clean_text("a\U000e0068\U000e0069b") == "ab"


def test_joiner_goes_where_no_emoji_follows() -> None:
    assert clean_text("\U0001f468\u200dx") == "\U0001f468x"


@given(NASTY)
def test_is_idempotent_and_writable(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    once.encode("utf-8")
    assert once == once.strip()
    assert "  " not in once
    assert not any(character.isspace() and character != " " for character in once)


@given(NASTY)
def test_every_visible_character_survives(text: str) -> None:
    def visible(value: str) -> list[str]:
        return [chr(ord(c) - 0xFEE0) if is_full_width(c) else c for c in value if c.isprintable() and c != " "]

    assert visible(clean_text(text)) == visible(text)


def test_every_code_point_alone_is_kept_or_removed_as_python_sees_it() -> None:
    """Whatever is removed or turned into a space is unprintable: the guard that skips clean text cannot let it through."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if clean_text(f"a{character}b") != f"a{character}b":
            assert not character.isprintable() or is_full_width(character), hex(code)


def test_touched_holds_every_character_that_a_rule_touches() -> None:
    touched = re.compile(f"[{TOUCHED}]")
    for code in range(sys.maxunicode + 1):
        text = f"a{chr(code)}b"
        assert clean_text(text) == text or touched.search(text) or code in (0x0A, 0x20), hex(code)


def test_rules_are_named_once_and_versioned() -> None:
    assert len(set(CLEAN_RULES)) == len(CLEAN_RULES)
    assert all(rule.partition("@")[2].isdigit() for rule in CLEAN_RULES)
