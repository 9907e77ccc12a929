"""Readers and the plan: documents and rows are counted from 1, nothing vanishes, cuts fall between documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents import Document, Ledger
from pipeline.errors import InputError
from pipeline.formats import FORMATS, detect
from pipeline.inputs import InputFile
from pipeline.scan import default_unit_bytes, scan_file
from pipeline.stages import default_stages, run_stages
from pipeline.units import make_plan, read_unit


def read(format: str, data: bytes, first_row: int = 1) -> tuple[list[Document], Ledger]:
    ledger = Ledger()
    return list(FORMATS[format].documents(data, first_row, ledger)), ledger


def input_file(path: Path, format: str = "auto") -> InputFile:
    return InputFile(url=str(path), path=path.name, size=path.stat().st_size, lang="zh", format=format)


def test_text_documents_are_parted_by_blank_lines() -> None:
    documents, _ = read("text", "甲。\n乙。\n\n \t\n丙。\r\n\r\n丁".encode(), first_row=10)
    assert [(d.lines, tuple(d.rows)) for d in documents] == [(("甲。", "乙。"), (10, 11)), (("丙。",), (14,)), (("丁",), (16,))]


def test_only_line_feeds_part_rows() -> None:
    documents, _ = read("text", "一\u2028二\x85三\x0b四\x0c五\x1c六\n七".encode())
    assert [d.lines for d in documents] == [("一\u2028二\x85三\x0b四\x0c五\x1c六", "七")]


def test_a_row_that_is_not_utf8_is_dropped_by_number_and_its_neighbours_stay() -> None:
    documents, ledger = read("text", "好\n".encode() + b"\xff\xfe\xe4\n" + "坏\n".encode() + "截".encode()[:2], first_row=5)
    assert [(d.lines, tuple(d.rows)) for d in documents] == [(("好", "坏"), (5, 7))]
    assert ledger.rows_dropped == {"invalid_utf8": 2} and ledger.rejects == {"invalid_utf8": [6, 8]}


def test_wikiextractor_articles_lose_their_title_line_only() -> None:
    text = (
        '<doc id="1" url="u" title="猫 &amp; 狗">\n猫 & 狗\n\n猫是动物。\n狗也是。\n\n</doc>\n'
        '<doc id="2" url="u" title="只有标题">\n只有标题\n</doc>\n'
        '<doc id="3" url="u" title="另">\n第一句不是标题。\n另\n</doc>\n掉队的行\n'
    )
    documents, ledger = read("wikiextractor", text.encode())
    assert [(d.lines, tuple(d.rows)) for d in documents] == [
        (("猫是动物。", "狗也是。"), (4, 5)),
        (("第一句不是标题。", "另"), (12, 13)),
    ]
    assert ledger.rows_dropped == {"title": 2, "outside_of_documents": 1}
    assert ledger.documents_dropped == {"title_only": 1}


def test_json_lines_with_every_kind_of_bad_row() -> None:
    rows = [
        json.dumps({"text": "好。\n第二行。"}, ensure_ascii=False), "not json", "[1]", '{"text": 5}', '{"other": "x"}', '{"text": "  "}',
        "[" * 100_000, '{"text": ' + "9" * 5000 + "}", "", '{"text": "末"}',
    ]  # fmt: skip
    documents, ledger = read("jsonl", "\n".join(rows).encode())
    assert [(d.lines, tuple(d.rows)) for d in documents] == [(("好。", "第二行。"), (1, 1)), (("末",), (10,))]
    assert ledger.rows_dropped == {
        "invalid_json": 2, "not_an_object": 1, "not_text": 1, "missing_field": 1, "nested_too_deep": 1, "empty": 1,
    } == ledger.documents_dropped  # fmt: skip


def test_stages_account_for_every_row_and_document() -> None:
    ledger = Ledger()
    documents = [
        Document.of(("\ufeff第一", "\u200b\u200b", "第二"), rows=(1, 2, 3)),
        Document.of(("\x00\x01", "\u200b"), rows=(5, 6)),
        Document.of(("三", "\u200b"), rows=(8, 8)),
    ]
    kept = list(run_stages(documents, default_stages(), ledger))
    assert [d.lines for d in kept] == [("第一", "第二"), ("三",)]
    assert (ledger.documents_read, ledger.documents_kept, dict(ledger.documents_dropped)) == (3, 2, {"empty": 1})
    assert (ledger.rows_read, ledger.rows_kept, dict(ledger.rows_dropped)) == (6, 3, {"empty": 3})
    assert ledger.rejects == {"empty": [2, 5, 6]}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'\xef\xbb\xbf{"text": 1}', "jsonl"), (b'\n<doc id="1">', "wikiextractor"), ("文".encode(), "text"), (b"", "text"),
    ],
)  # fmt: skip
def test_formats_are_told_by_their_first_bytes(head: bytes, name: str) -> None:
    assert detect(head, "auto", "f").name == name


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("今天天气很好\n我们去公园\n".encode("gb18030") * 20, "GB18030: pass --encoding gb18030"),
        ("今天天氣很好\n我們去公園\n".encode("big5") * 20, "BIG5: pass --encoding big5"),
        ("今天天气很好\n".encode("utf-16") * 20, "UTF-16: pass --encoding utf-16"),
        ("今天天气很好\n".encode("utf-16-be") * 20, "UTF-16-BE: pass --encoding utf-16-be"),
        (bytes(range(256)) * 4 + b"\0" * 800, "binary data"),
    ],
)  # fmt: skip
def test_files_that_are_no_utf8_text_are_refused_as_a_whole(head: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"f: .*({message})"):
        detect(head, "text", "f")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text("天地玄黄ab ", min_size=1, max_size=30), min_size=1, max_size=5), min_size=1, max_size=40),
    st.integers(16, 400),
)
def test_units_together_read_what_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[str]], unit_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("in") / "x.txt"
    path.write_bytes("\n\n".join("\n".join(lines) for lines in documents).encode() + b"\n")
    file = input_file(path, "text")
    scan = scan_file(file, unit_bytes)
    plan = make_plan([file], [scan])
    whole, _ = read("text", path.read_bytes())
    parts = [d for unit in plan.units for d in read("text", read_unit(unit), unit.first_row)[0]]
    assert parts == whole
    assert [u.begin for u in plan.units] == [0, *(u.end for u in plan.units[:-1])] and plan.units[-1].end == path.stat().st_size
    assert all(u.end - u.begin >= unit_bytes for u in plan.units[:-1])


def test_cuts_do_not_depend_on_how_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.txt"
    path.write_text(
        "\n".join(f"{'字' * (i % 90 + 1)}。" + ("\n\n \n" if i % 3 == 0 else "") for i in range(3000)), encoding="utf-8"
    )
    scans = set()
    for size in (1, 7, 1000, 1 << 22):
        if size > 1 or path.stat().st_size < 10**6:
            monkeypatch.setattr("pipeline.scan._READ_BYTES", size)
            scans.add(scan_file(input_file(path), 4096))
    assert len(scans) == 1 and len(scans.pop().cuts) > 50


def test_a_file_changed_after_planning_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("一。\n二。\n", encoding="utf-8")
    file = input_file(path, "text")
    unit = make_plan([file], [scan_file(file, 1024)]).units[0]
    path.write_text("一。\n三。\n", encoding="utf-8")
    with pytest.raises(InputError, match="changed while it was being read"):
        read_unit(unit)


def test_unit_size_follows_the_input() -> None:
    assert [default_unit_bytes(n) for n in (0, 10**6, 640 << 20, 1 << 40)] == [1 << 20, 1 << 20, 10 << 20, 16 << 20]


@given(
    text=st.text(st.sampled_from(list("甲a \t\r\n\n\n\u3000。")), max_size=40),
    name=st.sampled_from(["text", "wikiextractor"]),
)
def test_rows_read_one_by_one_give_the_same_documents(text: str, name: str) -> None:
    text = text.replace("甲", '<doc id=1 title="a">\n').replace("。", "\n</doc>\n") if name == "wikiextractor" else text
    whole, _ = read(name, text.encode(), first_row=1)
    # A row that is not UTF-8 makes the reader go row by row; it stands behind everything else.
    by_row, ledger = read(name, text.encode() + b"\n\n\xff", first_row=1)
    assert ledger.rows_dropped["invalid_utf8"] == 1
    assert [(d.text, tuple(d.rows)) for d in whole] == [(d.text, tuple(d.rows)) for d in by_row]
