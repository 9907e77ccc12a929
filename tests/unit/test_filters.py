"""Document filters: what each drops and keeps, how the command line names them, and that a recipe rebuilds them."""

import builtins
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import Document, Drop, Ledger
from pipeline.filter_settings import FILTER_NAMES, FilterSettings, parse_filters, stages_for
from pipeline.filters import LanguageShare, RepeatedNgrams, WordLength
from pipeline.rolling_hash import code_points, prefix_sums, spans, windows
from pipeline.simplify import Simplify, make_simplify
from pipeline.stage import Edited, Stage
from pipeline.stages import default_stages, make_stages, run_stages
from pipeline.text_tokens import tokenize
from shards.errors import MismatchError, UsageError

ZH = "北京是中华人民共和国的首都，也是全国的政治和文化中心。"
EN = "The quick brown fox jumps over the lazy dog, and nobody knows why."


def document(*lines: str) -> Document:
    return Document.of(lines, tuple(range(1, len(lines) + 1)))


def reason(stage: Stage, *lines: str) -> str | None:
    result = stage(document(*lines))
    return result.reason if isinstance(result, Drop) else None


def one(text: str, lang: str | None = None) -> Stage:
    (stage,) = stages_for(parse_filters([text]), lang)
    return stage


@pytest.mark.parametrize(
    ("text", "lang", "lines", "expected"),
    [
        ("min-chars", None, ["九个字的一行文章。"], "too_short"),
        ("min-chars=9", None, ["九个字的一行文章。"], None),
        ("min-chars=4", None, ["一", "二", "三"], "too_short"),
        ("language", "zh", [ZH], None),
        ("language", "zh", [EN], "other_language"),
        ("language", "en", [EN], None),
        ("language", "en", [ZH], "other_language"),
        ("language", None, [ZH, EN], None),
        ("language", None, ["Это предложение по-русски."], "other_language"),
        ("language", "zh", ["12345 !!!"], "other_language"),
        ("language=0", "zh", [EN], None),
        ("language=0.9", "zh", [ZH + EN], "other_language"),
        ("repeated-lines", None, [ZH] * 2 + [EN * 9, "三。", "四。"], None),
        ("repeated-lines", None, [ZH] * 3, "repeated_lines"),
        ("repeated-lines", None, ["短"] * 3 + [EN * 3, ZH * 3], "repeated_lines"),
        ("repeated-lines=0.5", None, ["短"] * 3 + [EN * 3, ZH * 3], None),
        ("repeated-ngrams", None, [ZH], None),
        ("repeated-ngrams", None, [EN], None),
        ("repeated-ngrams", None, [ZH * 3], "repeated_ngrams"),
        ("repeated-ngrams", None, [f"{EN} {EN}"], "repeated_ngrams"),
        ("repeated-ngrams=1", None, [ZH * 3], None),
        ("symbols", None, ["#a #b #c 你好"], "symbols"),
        ("symbols", None, ["他说……然后…就走了"], "symbols"),
        ("symbols", None, [ZH + "……"], None),
        ("bullets", None, ["• 一", "- 二", "● 三"], "bullets"),
        ("bullets", None, ["• 一", "二"], None),
        ("ellipsis-lines", None, ["他想……", "走了。"], "ellipsis_lines"),
        ("ellipsis-lines", None, ["read on...", "a.", "b.", "c."], None),
        ("word-length", None, [EN], None),
        ("word-length", None, ["a b c d e f g"], "word_length"),
        ("word-length=5", None, ["immeasurable extraordinarily"], "word_length"),
        ("word-length", None, [ZH], None),
        ("terminal-punctuation", None, ["no sentence", "标题"], "no_terminal_punctuation"),
    ],
)
def test_filter(text: str, lang: str | None, lines: list[str], expected: str | None) -> None:
    result = one(text, lang)(document(*lines))
    result = result.result if isinstance(result, Edited) else result
    assert (result.reason if isinstance(result, Drop) else None) == expected


def test_lines_without_an_end_are_counted_by_row() -> None:
    ledger = Ledger()
    (kept,) = run_stages([document("第一句。", "标题", "“引文。”")], (one("terminal-punctuation"),), ledger)
    assert (kept.lines, kept.rows) == (("第一句。", "“引文。”"), (1, 3))
    assert ledger.rows_dropped == {"no_terminal_punctuation": 1} and ledger.rejects == {"no_terminal_punctuation": [2]}


@given(
    st.lists(
        st.text(alphabet=st.one_of(st.sampled_from("a #…-•。.\u00e9中国"), st.characters(exclude_characters="\n"))).filter(bool),
        min_size=1,
        max_size=6,
    )
)
def test_any_text_passes_or_is_dropped_with_a_reason_and_twice_the_same_way(lines: list[str]) -> None:
    ledger = Ledger()
    stages = (*default_stages(), *stages_for(parse_filters(FILTER_NAMES), None))
    kept = list(run_stages([document(*lines)], stages, ledger))
    assert ledger.documents_read == 1 == len(kept) + ledger.documents_dropped.total()
    assert ledger.rows_read == len(lines) == ledger.rows_kept + ledger.rows_dropped.total()
    for left in kept:
        again = list(run_stages([left], stages[:2], Ledger()))
        assert again == [left]


def test_stages_come_in_order_and_a_recipe_rebuilds_them() -> None:
    stages = (*default_stages(), *stages_for(parse_filters([*reversed(FILTER_NAMES), "min-chars=25"]), "zh"))
    assert [stage.description["name"] for stage in stages] == ["clean", *(name.replace("-", "_") for name in (
        "terminal-punctuation", "min-chars", "language", "symbols", "bullets", "ellipsis-lines", "word-length", "repeated-lines",
        "repeated-ngrams",
    ))]  # fmt: skip
    descriptions = json.loads(json.dumps([stage.description for stage in stages]))
    assert make_stages(descriptions) == stages == pickle.loads(pickle.dumps(stages))
    assert descriptions[2]["minimum"] == 25 and descriptions[3]["script"] == "han"
    assert stages_for(FilterSettings(), "zh") == ()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["min-char"], "min-chars"),
        (["repeated_line=0.2"], "repeated-lines"),
        (["min-chars=ten"], "min-chars=ten"),
        (["min-chars=-1"], "-1"),
        (["language=1.5"], "1.5"),
        (["symbols=nan"], "nan"),
        (["word-length=2"], "2"),
        (["terminal-punctuation=1"], "no value"),
        (["bullets="], "bullets="),
    ],
)
def test_what_makes_no_sense_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_filters(texts)


@pytest.mark.parametrize(
    "description", [{"name": "min_char"}, {"name": "min_chars", "version": 2, "minimum": 1}, {"name": "clean", "rules": ["x@1"]}]
)
def test_recipes_of_other_versions_are_refused(description: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_stages([description])


def test_settings_name_the_offending_value() -> None:
    with pytest.raises(UsageError, match="greek"):
        LanguageShare(script="greek")
    with pytest.raises(UsageError, match="7"):
        RepeatedNgrams(maximum=7)
    with pytest.raises(UsageError, match="5 to 4"):
        WordLength(minimum=5, maximum=4)


def test_simplify_keeps_lines() -> None:
    simplify = make_simplify()
    edited = simplify(document("頭髮發展，乾燥與干涉。", "plain", "說話"))
    assert isinstance(edited, Edited) and edited.changed == {"simplify": [1, 3]}
    result = edited.result
    assert isinstance(result, Document) and (result.lines, result.rows) == (
        ("头发发展，干燥与干涉。", "plain", "说话"),
        (1, 2, 3),
    )
    assert make_stages([simplify.description]) == (simplify,)
    ascii_only = document("nothing to do")
    assert simplify(ascii_only) is ascii_only
    with pytest.raises(MismatchError, match=r"0\.0\.1"):
        Simplify.from_description(simplify.description | {"opencc": "0.0.1"})


def test_simplify_without_opencc_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "opencc":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"wordloom\[opencc\]"):
        make_simplify()


def test_tokens_are_han_characters_and_words() -> None:
    text = "Hello, WORLD 2024年！中文a中 é́"
    tokens = tokenize(text)
    assert [text[b:e] for b, e in zip(tokens.begin, tokens.end, strict=True)] == [
        "Hello",
        "WORLD",
        "2024",
        "年",
        "中",
        "文",
        "a",
        "中",
        "é́",
    ]
    assert tokens.han.tolist() == [False, False, False, True, True, True, False, True, False]
    assert tokens.hashes[4] == tokens.hashes[7] and len(set(tokens.hashes.tolist())) == 8
    assert tokenize("hello").hashes[0] == tokens.hashes[0]
    assert len(tokenize("")) == len(tokenize("，。 \ud83d")) == 0 and len(tokenize("𠮷野")) == 2


@given(st.text(max_size=60), st.integers(1, 8))
def test_windows_hash_content_and_nothing_else(text: str, width: int) -> None:
    codes = code_points(text).astype("u8")
    grams = windows(prefix_sums(codes), width)
    texts = [text[i : i + width] for i in range(len(text) - width + 1)]
    assert len(grams) == len(texts)
    assert len(set(zip(texts, grams.tolist(), strict=True))) == len(set(texts)) == len(set(grams.tolist()))
    begin = np.arange(len(texts))
    assert (spans(prefix_sums(codes), begin, begin + width) == grams).all()
