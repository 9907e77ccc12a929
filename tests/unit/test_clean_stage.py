"""The cleaning stage: what wiki markup and boilerplate lose, what prose and code keep, what is counted, and idempotence."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean import (
    _PRINTABLE,
    _UNPRINTABLE,
    CLEAN_RULES,
    REQUIRED_RULES,
    clean_text,
    make_changing_rules,
    make_clean_text,
)
from pipeline.clean_stage import RULES, Clean, make_clean
from pipeline.documents import Document, Ledger
from pipeline.stage import Edited
from pipeline.stages import make_stages, run_stages
from shards.errors import UsageError

PIECES = st.sampled_from(
    [
        "[[", "]]", "{{", "}}", "{|", "|}", "|-", "-{", "}-", "|", "!", "!!", "''", "'''", "==", "===", "<ref>", "</ref>", "<ref name=a/>",
        "<br>", "<b", "<!--", "-->", "&lt;", "&gt;", "&amp;", "&#91;", "&#x7b;", "&nbsp;", "&#10;", "lt;", "File:", "zh-hans:", ";", "[",
        "]", "{", "}", "http://a", "[http://a b]", "#if:", "#", "style=", "中", "a", " ", "\u3000", "\u200b", "\u200d", "Ａ", "１", "=",
        "参考文献", "References", ".", "：", "\U0001f468", "\ud83d",
    ]
)  # fmt: skip
LINES = st.lists(st.one_of(PIECES, st.text(max_size=3)), min_size=1, max_size=30).map("".join)


def document(*lines: str) -> Document:
    return Document.of(lines, tuple(range(1, len(lines) + 1)))


def cleaned(line: str) -> str:
    result = Clean()(document(line, "终。"))
    result = result.result if isinstance(result, Edited) else result
    assert isinstance(result, Document)
    return result.text.removesuffix("终。").removesuffix("\n")


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("[[北京市|北京]]是[[中国]]首都", "北京是中国首都"),
        ("[[File:a.jpg|thumb|250px|right|a caption]]文字", "文字"),
        ("[[分类:城市]]", ""),
        ("[[Category:Cities", ""),
        ("前{{cite web|title={{lang|en|x}}|url=y}}后", "前后"),
        ("'''粗体'''和''斜体''", "粗体和斜体"),
        ("== 历史 ==", "历史"),
        ("=== 早期 ===", "早期"),
        ('一句<ref name="a">来源 <br> b</ref>话<ref name=x/>。', "一句话。"),
        ("a&nbsp;b&amp;c&#65;&hellip;", "a b&cA…"),
        ("&lt;br&gt;新的一行", "新的一行"),
        ("一<br/>二", "一 二"),
        ("H<sub>2</sub>O", "H2O"),
        ('{| class="wikitable"', ""),
        ("|-", ""),
        ("|}", ""),
        ('! colspan="9" style="background:#b0d3fb"|', ""),
        ("! 賽季 !! 球隊 !! 上場", ""),
        ("#if: Aristotle", ""),
        ("}}{{", ""),
        ("|{{", ""),
        ("-{zh-hant:視頻; zh-hans:视频; zh-tw:影片}-网站", "视频网站"),
        ("-{余}-子偉和-{}-他", "余子偉和他"),
        ("-{H|zh-hans:甲;zh-hant:乙}-丙", "丙"),
        ("[http://example.org 官方网站]", "官方网站"),
        ("<!-- 注释 -->正文", "正文"),
        ("参考文献", ""),
        ("參考資料.", ""),
        ("External links.", ""),
        ("SEE ALSO", ""),
        ("[编辑]", ""),
        ("  版权所有，侵权必究 ", ""),
    ],
)
def test_markup_and_boilerplate_go(dirty: str, clean: str) -> None:
    assert cleaned(dirty) == clean


@pytest.mark.parametrize(
    "line",
    [
        "if (a < b && c > d) { x[i] = y | z; }",
        "List<String> names = map[key][0];",
        "AT&T and R&B; 3 < 4",
        "#话题# 今天天气不错！！真的",
        "[1] 作者：《书名》",
        "他说：'好的'，a == b",
        "参考文献见书末",
        "See also the works of others",
        "&notanentity; &copy",
        "O'Neill's",
        "数据|单位|来源",
        "!important",
    ],
)
def test_prose_and_code_stay(line: str) -> None:
    assert cleaned(line) == line


@given(st.lists(LINES, min_size=1, max_size=5))
def test_is_idempotent(lines: list[str]) -> None:
    once = Clean()(document(*(line.replace("\n", "") or "x" for line in lines)))
    once = once.result if isinstance(once, Edited) else once
    if isinstance(once, Document):
        assert all(once.lines)
        assert Clean()(once) is once


@given(st.lists(LINES, min_size=1, max_size=4), st.sampled_from(["plain ascii text, long enough to lie in the middle", "中文"]))
def test_the_look_ahead_hides_no_change(lines: list[str], filler: str) -> None:
    """A document that is passed over is one whose lines, each cleaned for itself, stay as they are."""
    lines = [*(line.replace("\n", "") or "x" for line in lines), filler]
    result = Clean()(document(*lines))
    if isinstance(result, Document) and result.text == "\n".join(lines):
        assert [Clean()._clean_line(line)[0] for line in lines] == lines


@given(LINES)
def test_nesting_ends(line: str) -> None:
    deep = ("[[" * 40 + line + "]]" * 40 + "&amp;" * 60 + "lt;").replace("\n", "")
    once = cleaned(deep)
    assert cleaned(once or "x") == (once or "x")


@pytest.mark.parametrize(
    "unit",
    ["[[", "{{", "<ref>", "<!--", "[[a|", "&amp;", "-{", "=", "{|", "[http://a ", "<br ", "''", "|", "!! ", "</ref>", "<ref a"],
)
def test_giant_hostile_lines_cost_linear_time(unit: str) -> None:
    cleaned(unit * 50_000 + "a")


def test_document_that_needs_nothing_is_returned_as_it_is() -> None:
    given_ = document("没有任何问题的一行。", "A line with nothing wrong: it's fine, 100%.")
    assert Clean()(given_) is given_


LINE = LINES.map(lambda line: line.replace("\n", " ")).filter(bool)


@given(documents=st.lists(st.lists(LINE, min_size=1, max_size=4).map(lambda lines: document(*lines)), min_size=1, max_size=6))
def test_many_documents_at_once_come_out_as_each_alone(documents: list[Document]) -> None:
    long = document("很长的一行，" * 500, "没有问题。")  # from some length on lines are looked up in another way
    for given_ in (documents, [*documents, long, *documents]):
        assert Clean().of_many(given_) == [Clean()(one) for one in given_]
        assert Clean().of_many([long])[0] is long


def test_lost_rows_are_counted_under_their_reason() -> None:
    ledger = Ledger()
    documents = [
        Document.of(["正文。", "参考文献", "\u200b", "|-"], (1, 2, 3, 4)),
        Document.of(["[[Category:a]]", "编辑", "{{x}}"], (6, 7, 8)),
        Document.of(["两行", "|-"], (9, 9)),
    ]
    kept = list(run_stages(documents, (Clean(),), ledger))
    assert [d.rows for d in kept] == [(1,), (9,)]
    assert ledger.rows_dropped == {"boilerplate": 2, "empty": 1, "markup": 3}
    assert ledger.documents_dropped == {"markup": 1}
    assert (ledger.rows_read, ledger.rows_kept) == (8, 2)
    assert ledger.rejects == {"boilerplate": [2, 7], "empty": [3], "markup": [4, 6, 8]}


def test_rules_are_chosen_by_name() -> None:
    only = make_clean(["fold_full_width"])
    assert only.description == {
        "name": "clean",
        "rules": ["remove_lone_surrogates@1", "fold_full_width@1", "collapse_white_space@1", "strip@1"],
    }
    result = only(document("Ａ\u200b[[b]]  c", "编辑"))
    assert isinstance(result, Edited) and isinstance(result.result, Document)
    assert result.result.lines == ("A\u200b[[b]] c", "编辑")
    assert result.changed == {"fold_full_width@1": [1], "collapse_white_space@1": [1]}
    assert make_clean(["all"]) == Clean() == make_clean(RULES)
    assert make_stages([only.description]) == (only,)
    assert pickle.loads(pickle.dumps(only)) == only


DIRTY_ROWS = {
    "remove_byte_order_marks@1": "前\ufeff后", "remove_lone_surrogates@1": "前\ud83d后", "remove_noncharacters@1": "前\ufffe后",
    "remove_controls@1": "前\x01后", "remove_zero_width_and_bidi@1": "前\u200b后", "remove_stray_joiners_and_tags@1": "前\u200d后",
    "fold_full_width@1": "ＡＢ", "collapse_white_space@1": "前\u3000后", "strip@1": " 前", "remove_wiki_markup@1": "[[前|后]]",
    "drop_boilerplate_lines@1": "参考文献",
}  # fmt: skip


@pytest.mark.parametrize("copies", [1, 300], ids=["short", "long"])
def test_each_rule_counts_the_rows_that_it_changed(copies: int) -> None:
    assert tuple(DIRTY_ROWS) == RULES
    ledger, lines = Ledger(), ["没有问题的一行。", *DIRTY_ROWS.values()] * copies
    documents = [document(*lines), Document.of(["很好。", "Ａ", "Ｂ\u200b"], (9001, 9002, 9002))]
    list(run_stages(documents, (Clean(),), ledger))
    counted = dict.fromkeys(RULES, copies)
    counted |= {"fold_full_width@1": copies + 1, "remove_zero_width_and_bidi@1": copies + 1}  # two lines of a row are one row
    assert ledger.rows_changed == counted
    for number, rule in enumerate(RULES, 2):
        rows = [number + copy * len(RULES) + copy for copy in range(copies)]
        rows += [9002] * (counted[rule] - copies)
        assert ledger.changes[rule] == rows[:20]
    assert ledger.rows_dropped == {"boilerplate": copies} and ledger.rows_read == copies * 12 + 2


@given(LINES, st.sets(st.sampled_from(CLEAN_RULES)))
def test_rules_one_by_one_do_what_all_do_at_once(line: str, rules: set[str]) -> None:
    text, named = line, []
    for rule in CLEAN_RULES:
        if rule in {*rules, *REQUIRED_RULES}:
            after = (_UNPRINTABLE | _PRINTABLE)[rule](text)
            named += [rule] if after != text else []
            text = after
    assert text == make_clean_text(rules)(line)
    assert make_changing_rules(rules)(line) == named


def test_a_giant_row_names_the_rules_that_change_any_of_it() -> None:
    line = "  开头" + "平常的文字" * 300_000 + "Ａ\u200b" + "文字" * 600_000 + "\u3000\u3000结尾"
    result = Clean()(document(line))
    assert isinstance(result, Edited)
    assert result.changed == {
        rule: [1] for rule in ("remove_zero_width_and_bidi@1", "fold_full_width@1", "collapse_white_space@1", "strip@1")
    }


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["fold_fullwidth"], "fold_full_width"),
        (["strip@9"], "strip@1"),
        (["all", "strip"], "alone"),
    ],
)
def test_unknown_rules_are_refused(rules: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_clean(rules)


def test_markup_stays_at_inference() -> None:
    assert clean_text("[[a]] 编辑") == "[[a]] 编辑"
