"""MediaWiki dumps: articles become paragraphs with their rows; every other page has a reason; no markup is left."""

from __future__ import annotations

import re
from collections import Counter
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents import Document, Ledger
from pipeline.format_mediawiki import MediaWikiFormat
from pipeline.wiki_markup import plain_text


def read(data: bytes, first_row: int = 1) -> tuple[list[Document], Ledger]:
    ledger = Ledger()
    return list(MediaWikiFormat().documents(data, first_row, ledger)), ledger


def page(text: str, ns: int = 0, extra: str = "") -> str:
    return (
        f"  <page>\n    <title>题</title>\n    <ns>{ns}</ns>\n{extra}    <revision>\n      <timestamp>2020</timestamp>\n"
        f'      <text xml:space="preserve">{escape(text)}</text>\n    </revision>\n  </page>\n'
    )


HEAD = '<mediawiki xmlns="x" version="0.11">\n  <siteinfo>\n    <sitename>W</sitename>\n  </siteinfo>\n'


def test_articles_redirects_and_other_pages_with_exact_rows() -> None:
    dump = (
        HEAD + page("{{Infobox\n|a=[[b]]\n}}'''猫'''是[[动物|动物]]。&nbsp;好\n\n== 名 ==\n* 狗<ref>书</ref>也是。\n[[Category:猫]]")
        + page("x", ns=1) + page("#REDIRECT [[猫]]") + page("y", extra='    <redirect title="猫" />\n') + "</mediawiki>\n"
    )  # fmt: skip
    documents, ledger = read(dump.encode())
    lines = dump.split("\n")
    # The first paragraph begins where the template before it does.
    first = next(i for i, line in enumerate(lines, 1) if "Infobox" in line)
    assert [(d.lines, d.rows) for d in documents] == [(("猫是动物。 好", "狗也是。"), (first, first + 5))]
    assert ledger.documents_dropped == {"not_an_article": 1, "redirect": 2}
    assert ledger.rows_dropped == {"not_an_article": 1, "redirect": 2, "section_title": 1}
    assert all("<page>" in lines[row - 1] for reason in ("redirect", "not_an_article") for row in ledger.rejects[reason])


def test_the_newest_revision_counts() -> None:
    def revision(time: str, text: str) -> str:
        return f"<revision><timestamp>{time}</timestamp><text>{text}</text></revision>"

    dump = f"<page><ns>0</ns>{revision('2020', '旧')}{revision('2022', '新')}{revision('2021', '中')}</page>\n"
    assert [d.text for d in read(dump.encode())[0]] == ["新"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"<page><ns>0</ns><revision><text>a & b</text></revision></page>", "invalid_xml"),
        (b"<page><ns>0</ns><revision><text>&lol;</text></revision></page>", "invalid_xml"),
        (b'<page><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><text>&a;</text></page>', "invalid_xml"),
        (b"<page><ns>0</ns><revision><text>\xff</text></revision></page>", "invalid_utf8"),
        (b"<page><ns>0</ns><revision><text>open", "invalid_xml"),
        (b"<page><ns>0</ns></page>", "invalid_xml"),
        (b"<page>" + b"<a>" * 200_000 + b"</page>", "invalid_xml"),
        (b"<page><ns>0</ns><revision><text>{{x}}</text></revision></page>", "empty"),
        (b"<page><ns>0</ns><revision><model>css</model><text>p</text></revision></page>", "not_wikitext"),
    ],
)
def test_a_bad_page_has_a_reason_and_its_neighbours_stay(bad: bytes, reason: str) -> None:
    documents, ledger = read(page("前。").encode() + bad + b"\n" + page("后。").encode(), first_row=100)
    assert [d.text for d in documents] == ["前。", "后。"]
    assert ledger.documents_dropped == Counter([reason]) and ledger.rejects == {reason: [108]}


def test_text_outside_of_pages_is_counted() -> None:
    documents, ledger = read(f"{HEAD}迷路\n{page('好。')}</page>\n尾\n</mediawiki>\n".encode())
    assert [d.text for d in documents] == ["好。"]
    assert ledger.rejects == {"outside_of_documents": [5, 15], "invalid_xml": [14]}


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("[[File:a.jpg|thumb|说明[[链接]]]]正文", "正文"), ("a[[en:Cat]]", "a"), ("[[:Category:猫|猫类]]", "猫类"), ("[[猫 (动物)|]]", "猫"),
        ("-{zh-hans:计算机;zh-hant:電腦}-好", "计算机好"), ("-{H|zh-cn:甲;zh-tw:乙}-丙", "丙"), ("-{原文}-", "原文"),
        ("[https://a.b/c 网站]与[https://a.b]", "网站与"), ("经济学（{{lang-en|x}}）是", "经济学是"), ("{{lang|en|Cat}}是猫", "Cat是猫"),
        ("<!-- 注 -->文<ref name='a'/>字<ref>引{{x}}</ref>", "文字"), ("{|\n|表\n|}文", "文"), ("__NOTOC__文", "文"),
        ("未闭{{模板", "未闭模板"), ("&amp;nbsp;文", "文"), ("<b>粗</b>''斜''", "粗斜"), ("<ref>不闭，正文", "不闭，正文"),
    ],
)  # fmt: skip
def test_markup(markup: str, text: str) -> None:
    assert " ".join(t for _, t in plain_text(markup).paragraphs) == text


@pytest.mark.parametrize(
    "piece",
    [
        "{{",
        "[[",
        "{|\n",
        "<ref>",
        "[[{{<b>''",
        "''",
        "&#",
        "{{a|",
        "=a=\n",
        "-{",
        "[http://a ",
        "<!--",
        "}}",
        "[[a",
        "{{a}}",
        "(",
        "[[",
    ],
)
def test_markup_that_never_closes_costs_no_more_than_its_length(piece: str) -> None:
    plain_text(piece * 100_000)  # seconds at most; the suite's time limit is the test
    plain_text(piece * 50_000 + "}}]]|}}-</ref>-->" * 50_000)


_MARKUP = st.lists(
    st.sampled_from(["{{", "}}", "[[", "]]", "{|", "|}", "'''", "&nbsp;", "|", "\n", "==", "<ref>", "</ref>", "-{", "}-", "文", "a ", "File:", "zh:", ";"]),
    max_size=40,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(_MARKUP)
def test_no_markup_is_left_and_lines_are_of_the_source(markup: str) -> None:
    plain = plain_text(markup)
    for line, text in plain.paragraphs:
        assert not re.search(r"\{\{|\[\[|'''|&nbsp;|\n|\v", text) and text.strip() == text != ""
        assert 0 <= line <= markup.count("\n")
    numbers = [line for line, _ in plain.paragraphs]
    assert numbers == sorted(numbers)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([b"<page>", b"</page>", b"\n", b"<text>", b"</text>", b"x", b"\xff", b"&", b"<revision>", b"</revision>", page("好。").encode()])))  # fmt: skip
def test_any_bytes_are_documents_or_drops(parts: list[bytes]) -> None:
    data = b"".join(parts)
    documents, ledger = read(data)
    pages = data.count(b"<page>")
    assert len(documents) + ledger.documents_dropped.total() == pages
    assert all(1 <= row <= data.count(b"\n") + 1 for d in documents for row in d.rows)
    assert all(1 <= row <= data.count(b"\n") + 1 for found in ledger.rejects.values() for row in found)
