"""JSON lines: each shape becomes the document a reader would see, and each row is kept or has a reason."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents import Document, Ledger
from pipeline.format_json import MAX_DEPTH, JsonLinesFormat


def read(data: bytes, field: str | None = None, lang: str = "zh", first_row: int = 1) -> tuple[list[Document], Ledger]:
    ledger = Ledger()
    documents = list(JsonLinesFormat(field=field, lang=lang).documents(data, first_row, ledger))
    for document in documents:
        ledger.keep(document.distinct_rows)
    return documents, ledger


def lines(value: object, field: str | None = None, lang: str = "zh") -> list[str] | str:
    documents, ledger = read(json.dumps(value).encode(), field, lang)
    return list(documents[0].lines) if documents else next(iter(ledger.documents_dropped))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"text": "甲。\n\n乙。"}, ["甲。", "乙。"]),
        ({"id": "53", "url": "u", "title": "经济学", "text": "经济学\n\n经济学是科学。"}, ["经济学是科学。"]),
        ({"title": "猫 &amp; 狗", "text": "猫 & 狗\n\n动物。"}, ["动物。"]),
        ({"title": "只有", "text": "只有\n"}, "title_only"),
        ({"title": "门票40元", "desc": "近日有网友", "content": "近日有网友爆料。"}, ["近日有网友爆料。"]),
        ({"title": "怎么办？", "desc": "另说一事。", "content": "正文。"}, ["怎么办？", "另说一事。", "正文。"]),
        ({"title": "门票", "desc": "门票", "content": "正文。"}, ["正文。"]),
        ({"qid": "1", "category": "生活", "title": "冬天进补好？ ", "desc": "", "answer": "你好！\r\r是的。"}, ["冬天进补好？ ", "你好！", "是的。"]),
        ({"qid": 6, "title": "阿法狗能写小说吗", "desc": "能吗<br>水平？", "topic": "机", "star": 3, "content": "不会。", "answerer_tags": ""},
         ["阿法狗能写小说吗", "能吗", "水平？", "不会。"]),
        ({"qid": 6, "title": "问", "desc": None, "content": None}, "null"),
        ({"english": "Italy.", "chinese": "意大利。"}, ["意大利。"]),
        ({"body": "x"}, "missing_field"),
    ],
)  # fmt: skip
def test_shapes(value: object, expected: object) -> None:
    assert lines(value) == expected


def test_the_language_chooses_the_side_of_a_translation_and_field_any_key() -> None:
    pair = {"english": "Italy.", "chinese": "意大利。"}
    assert lines(pair, lang="en") == ["Italy."] == lines(pair, field="english")
    assert [lines({"body": v}, field="body") for v in ("a\rb", None, 5, ["x"], " ")] == [
        ["a", "b"],
        "null",
        "not_text",
        "not_text",
        "empty",
    ]
    assert lines({"text": "x"}, field="body") == "missing_field"


def test_hostile_rows_have_their_reason_and_row() -> None:
    rows = {
        b"not json": "invalid_json", b'{"text": NaN}': "invalid_json", b'{"text": "x", "n": ' + b"9" * 5000 + b"}": "invalid_json",
        b'{"text": "a", "text": "b"}': "duplicate_key", b'{"text": "x", "a": ' + b"[" * 101 + b"]" * 101 + b"}": "nested_too_deep",
        b"[" * 100_000: "nested_too_deep", b'"' + b'\\"' * 50_000: "invalid_json", b"[1]": "not_an_object", b"5": "not_an_object",
        b'{"text": "\xff"}': "invalid_utf8", b'{"text": "cut': "invalid_json", b'{"text": null}': "null",
    }  # fmt: skip
    documents, ledger = read(b"\n".join([*rows, b"", '{"text": "末\\ud800"}'.encode()]), first_row=11)
    assert [(d.lines, d.rows) for d in documents] == [(("末\ufffd",), (11 + len(rows) + 1,))]
    assert ledger.documents_dropped == Counter(rows.values()) == ledger.rows_dropped
    assert {row for found in ledger.rejects.values() for row in found} == set(range(11, 11 + len(rows)))


def test_brackets_inside_of_strings_are_not_nesting() -> None:
    assert lines({"text": "[" * 3000 + '"{'}) == ["[" * 3000 + '"{']
    deep: object = "x"
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert lines({"text": "y", "deep": deep}) == ["y"]


_KEYS = st.sampled_from(["text", "title", "desc", "content", "answer", "qid", "english", "chinese"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
)
_ROWS = st.dictionaries(_KEYS, _VALUES).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=60)


@settings(max_examples=200, deadline=None)
@given(st.lists(_ROWS.map(lambda row: row.replace(b"\n", b" ")), max_size=6), st.sampled_from([None, "text", "title"]))
def test_every_row_is_kept_or_has_a_reason(rows: list[bytes], field: str | None) -> None:
    documents, ledger = read(b"\n".join(rows), field)
    assert all(line for d in documents for line in d.lines) and "".join(d.text for d in documents).encode() is not None
    assert all(len(d.lines) == len(d.rows) for d in documents)
    assert ledger.rows_read == ledger.rows_kept + ledger.rows_dropped.total() == ledger.documents_read

    def is_blank(row: bytes) -> bool:
        return not row.decode("utf-8", "replace").strip()

    assert ledger.rows_read == sum(not is_blank(row) for row in rows)
