"""What is said about the input: settings are checked with names, encodings are decoded row by row, tables become rows."""

from __future__ import annotations

import gzip
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpora import find_corpus
from pipeline.documents import Document, Ledger
from pipeline.errors import CorpusError, EncodingError, InputError
from pipeline.formats import table_kind
from pipeline.inputs import find_inputs
from pipeline.reader_settings import ReaderSettings
from pipeline.scan import in_place_format, scan_file
from pipeline.text_encoding import RowCodec, guess_encoding, utf8_rows
from pipeline.units import Unit, first_bytes, flatten, make_plan, unit_format
from shards.errors import UsageError
from tests.helpers.reading import input_file, read


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("utf8", "utf-8"), ("UTF-8", "utf-8"), ("utf-8-sig", "utf-8"), ("GB18030", "gb18030"), ("GBK", "gbk"), ("Big5", "big5"),
        ("UTF16", "utf-16"), ("utf_16_le", "utf-16-le"), ("utf-32", "utf-32"), ("latin1", "iso8859-1"), ("shift_jis", "shift_jis"), ("cp037", "cp037"),
    ],
)  # fmt: skip
def test_encodings_are_stored_under_one_name(given: str, stored: str) -> None:
    assert ReaderSettings(encoding=given).to_json_object() == {"format": "auto", "field": None, "encoding": stored}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "gb18O30"}, "unknown encoding 'gb18O30'. Did you mean 'gb18030'"), ({"encoding": "big-6"}, "unknown encoding 'big-6'"),
        ({"encoding": "rot13"}, "no encoding of text files"), ({"encoding": "utf-7"}, "no encoding of text files"), ({"encoding": "base64"}, "no encoding"),
        ({"encoding": "unicode_escape"}, "no encoding"), ({"encoding": "a\0b"}, "unknown encoding"), ({"encoding": ""}, "unknown encoding"),
        ({"format": "jsnol"}, "unknown format 'jsnol'. Did you mean 'jsonl'"), ({"format": "rows"}, "unknown format 'rows'"),
        ({"format": "parket"}, "Did you mean 'parquet'"), ({"field": ""}, "--field must name a field"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReaderSettings(**options)  # type: ignore[arg-type]


CODECS = [
    "gb18030",
    "gbk",
    "big5",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-32-be",
    "euc_kr",
    "shift_jis",
    "hz",
    "cp037",
    "utf-8",
]


@pytest.mark.parametrize("encoding", CODECS)
def test_a_file_in_another_encoding_reads_as_the_same_file_in_utf8(tmp_path: Path, encoding: str) -> None:
    words = "今日 天地 玄" if encoding not in ("cp037", "euc_kr") else "some words é" if encoding == "cp037" else "오늘 하늘"
    text = "\n\n".join("\n".join(f"{words}{i} {j}" for j in range(i % 4 + 1)) for i in range(300)) + "\n"
    (tmp_path / "u").write_text(text, encoding="utf-8")
    (tmp_path / "e").write_bytes(text.encode(encoding))
    (tmp_path / "z").write_bytes(gzip.compress(text.encode(encoding)))
    wanted = read(tmp_path / "u", tmp_path / "work", unit_bytes=2000)
    for name in ("e", "z"):
        found = read(tmp_path / name, tmp_path / "work", unit_bytes=2000, encoding=encoding)
        assert found.raw == wanted.raw
        assert [(u.first_row, u.sha256) for u in found.plan.units] == [(u.first_row, u.sha256) for u in wanted.plan.units]


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("gb18030", b"\x81\xff"), ("big5", b"\xa4\xff"), ("utf-16-le", b"\x00\xd8a\x00"), ("utf-32-le", b"\xff\xff\xff\x7f")],
)
def test_a_row_that_does_not_decode_is_dropped_by_number(tmp_path: Path, encoding: str, bad: bytes) -> None:
    end = "\n".encode(encoding)
    rows = ["第一行".encode(encoding), "二".encode(encoding) + bad, "三".encode(encoding), b"", bad, "末".encode(encoding)]
    (tmp_path / "f").write_bytes(end.join(rows) + end)
    found = read(tmp_path / "f", tmp_path / "work", encoding=encoding)
    reason = "invalid_" + encoding.replace("-", "")
    assert found.texts == ["第一行\n三", "末"] and found.rejects == {reason: ["f:2", "f:5"]}


def test_a_file_that_ends_inside_a_character_loses_that_row_only(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("一。\n二。\n三".encode("utf-16")[:-1])
    assert read(tmp_path / "f", tmp_path / "work", encoding="utf-16").rejects == {"invalid_utf16": ["f:3"]}


@pytest.mark.parametrize(
    ("real", "said"), [("gb18030", "utf-8"), ("big5", "utf-8"), ("utf-16", "utf-8"), ("utf-8", "big5"), ("gb18030", "utf-16")]
)
def test_a_file_that_is_not_in_the_encoding_given_is_refused_as_a_whole(tmp_path: Path, real: str, said: str) -> None:
    text = (
        "今天天氣很好，我們去公園。\n他說這是一個大的國家。\n"
        if real == "big5"
        else "今天天气很好，我们去公园。\n他说这是一个大的国家。\n"
    )
    (tmp_path / "f").write_bytes((text * 50).encode(real))
    with pytest.raises(EncodingError, match=f"f: is not {said.upper()}: .* pass --encoding"):
        read(tmp_path / "f", tmp_path / "work", encoding=said)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from(list("一二a\n\n\r\u0a0a\u000a\u2028𠮷")), max_size=60),
    encoding=st.sampled_from(["utf-16", "utf-16-be", "utf-32", "gb18030", "utf-8"]),
    size=st.integers(1, 40),
)
def test_rows_do_not_depend_on_the_portions_they_come_in(text: str, encoding: str, size: int) -> None:
    data = text.encode(encoding)
    codec = RowCodec.of(encoding, data)
    pieces = list(utf8_rows((data[i : i + size] for i in range(0, len(data), size)), codec))
    assert b"".join(pieces).decode() == text
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


def test_guesses() -> None:
    assert guess_encoding("今天天气很好".encode("gb18030") * 9) == "gb18030"
    assert guess_encoding("今天天氣很好，我們".encode("big5") * 9) == "big5"
    assert guess_encoding("plain\n".encode("utf-16-be") * 9) == "utf-16-be"
    assert guess_encoding(bytes(range(128, 256)) * 9) is None


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of tables that reads CSV without quotes."""

    def read_table(url: str, kind: str, field: str | None) -> Iterator[tuple[int, str | None, str]]:
        if kind == "datasets":
            yield 1, f"the folder {Path(url).name}", ""
            return
        for row, line in enumerate(Path(url).read_bytes().split(b"\n")[1:-1], 1):
            try:
                text = line.decode().split(",")[1 if field == "b" else 0]
            except UnicodeDecodeError:
                yield row, None, "invalid_utf8"
                continue
            if text == "fail":
                raise InputError("no such thing", where=f"{url}:{row}")
            yield row, text or None, "" if text else "empty"

    module = types.ModuleType("pipeline.tables")
    module.read_table = read_table  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.tables", module)


CSV = "a,b\n一。,x\n,y\n二\\n三。,z\n末。,w\n"


@pytest.mark.parametrize("packed", ["plain", "gz", "zip", "gb18030"])
def test_tables_become_rows_wherever_they_lie(tmp_path: Path, tables: None, packed: str) -> None:
    path = tmp_path / {"plain": "f.csv", "gz": "f.csv.gz", "zip": "f.zip", "gb18030": "f.csv"}[packed]
    encoding = "gb18030" if packed == "gb18030" else "utf-8"
    if packed == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in/f.csv", CSV)
    else:
        path.write_bytes(gzip.compress(CSV.encode()) if packed == "gz" else CSV.encode(encoding))
    for unit_bytes in (1, 1000):
        found = read(path, tmp_path / "work", unit_bytes=unit_bytes, encoding=encoding)
        name = "f.zip!/in/f.csv" if packed == "zip" else path.name
        assert found.texts == ["一。", "二\\n三。", "末。"] and [d.rows for d in found.raw] == [(1,), (3,), (4,)]
        assert found.rejects == {"empty": [f"{name}:2"]} and found.plan.corpus[0].path == name
    assert [u.first_row for u in read(path, tmp_path / "work", unit_bytes=1, encoding=encoding).plan.units] == [1, 2, 3, 4]
    assert not list((tmp_path / "work").rglob("table"))  # the copy that the reader needed is gone


def test_a_bad_row_of_a_table_in_another_encoding_says_so(tmp_path: Path, tables: None) -> None:
    (tmp_path / "f.csv").write_bytes("a,b\n一。,x\n".encode("gb18030") + b"\x81\xff,y\n" + "末。,w\n".encode("gb18030"))
    assert read(tmp_path / "f.csv", tmp_path / "work", encoding="gb18030").rejects == {"invalid_gb18030": ["f.csv:2"]}


def test_an_error_of_a_packed_table_names_the_file_that_was_given(tmp_path: Path, tables: None) -> None:
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(b"a,b\nx,y\nfail,y\n"))
    (tmp_path / "f.csv").write_bytes(b"a,b\nx,y\nfail,y\n")
    for name in ("f.csv.gz", "f.csv"):
        with pytest.raises(InputError, match=rf"^{name}:2: no such thing$"):
            read(tmp_path / name, tmp_path / "work")


@pytest.mark.parametrize(
    ("path", "head", "kind"),
    [
        ("a.csv", b"x", "csv"), ("A.CSV.GZ", b"x", "csv"), ("b.tsv.zst", b"", "tsv"), ("c", b"PAR1\x15", "parquet"), ("d.txt", b"ARROW1\0\0", "arrow"),
        ("e.arrow", b"\xff\xff\xff\xff\x78", "arrow"), ("f.bin", b"\xff\xff\xff\xff", None), ("g.csv.txt", b"x", None), ("z.zip!/in/h.csv", b"x", "csv"),
    ],
)  # fmt: skip
def test_tables_are_told_by_first_bytes_and_csv_by_name(path: str, head: bytes, kind: str | None) -> None:
    assert table_kind(head, "auto", path) == kind
    assert table_kind(head, "tsv", path) == "tsv"


def test_a_table_where_text_was_promised_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(InputError, match=r"f: is a parquet file .*Pass --format parquet"):
        read(tmp_path / "f", tmp_path / "work", format="text")


def test_splits_saved_together_are_one_input(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "in" / "saved" / split).mkdir(parents=True)
        for name in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow"):
            (tmp_path / "in" / "saved" / split / name).write_text("x")
    (tmp_path / "in" / "saved" / "dataset_dict.json").write_text("{}")
    (tmp_path / "in" / "state.json").write_text("{}")
    files = find_inputs(find_corpus("text"), None, [str(tmp_path / "in")], tmp_path / "work").files
    assert [(f.path, f.format, f.size) for f in files] == [("saved", "datasets", 8), ("state.json", "auto", 2)]


def test_a_folder_that_datasets_saved_is_one_input(tmp_path: Path, tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        (tmp_path / "in" / "saved" / split).mkdir(parents=True)
        for name in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow"):
            (tmp_path / "in" / "saved" / split / name).write_text(f"{split} {name}")
    (tmp_path / "in" / "more.txt").write_text("文。\n", encoding="utf-8")
    found = find_inputs(find_corpus("text"), None, [str(tmp_path / "in")], tmp_path / "work")
    assert [(f.path, f.format) for f in found.files] == [
        ("more.txt", "auto"),
        ("saved/test", "datasets"),
        ("saved/train", "datasets"),
    ]
    scans = [scan_file(file, 1000, ReaderSettings(), tmp_path / "work") for file in found.files]
    assert scans[1].size == found.files[1].size and scans[1].sha256 != scans[2].sha256
    assert scans == [scan_file(file, 1000, ReaderSettings(), tmp_path / "work") for file in found.files]
    assert flatten(found.files, scans) == (found.files, tuple(scans))
    plan = make_plan(found.files, scans)
    texts = [d.text for unit, data in first_bytes(plan, 1 << 20) for d in _documents(unit, data)]
    assert texts == ["文。", "the folder test", "the folder train"]


def _documents(unit: Unit, data: bytes) -> list[Document]:
    return list(unit_format(unit).documents(data, unit.first_row, Ledger()))


def test_a_field_reaches_the_format_of_every_unit(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"text": "一", "content": "二"}\n', encoding="utf-8")
    (tmp_path / "f.gz").write_bytes(gzip.compress((tmp_path / "f").read_bytes()))
    for name in ("f", "f.gz"):
        file = input_file(tmp_path / name)
        plan = make_plan([file], [scan_file(file, 1000, ReaderSettings(field="content"), tmp_path / "work")])
        assert [d.text for unit, data in first_bytes(plan, 1000) for d in _documents(unit, data)] == ["二"]


def test_what_can_be_cut_where_it_lies(tmp_path: Path) -> None:
    for head, name in (
        (b"{}", "jsonl"),
        (b"text", "text"),
        (gzip.compress(b"x"), None),
        (b"PAR1", None),
        (b"BZh9 is a magic number", "text"),
        (b"Rar! he said", "text"),
    ):
        (tmp_path / "f").write_bytes(head)
        format = in_place_format(head, input_file(tmp_path / "f"), ReaderSettings())
        assert (format.name if format else None) == name
    assert in_place_format(b"text", input_file(tmp_path / "f"), ReaderSettings(encoding="big5")) is None


def test_the_format_given_goes_before_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"text": "一"}\n')
    corpus = find_corpus("text")
    found = find_inputs(corpus, None, [str(tmp_path / "f")], tmp_path, settings=ReaderSettings(format="text"))
    assert found.files[0].format == "text"
    assert find_inputs(corpus, None, [str(tmp_path / "f")], tmp_path).files[0].format == "auto"


def test_empty_files_among_others_are_fine_and_nothing_but_them_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(CorpusError, match="all input files are empty"):
        find_inputs(find_corpus("text"), None, [str(tmp_path)], tmp_path / "work")
    (tmp_path / "b.txt").write_bytes(b"x\n")
    files = find_inputs(find_corpus("text"), None, [str(tmp_path)], tmp_path / "work").files
    plan = make_plan(files, [scan_file(file, 1000) for file in files])
    assert [entry.size for entry in plan.corpus] == [0, 2] and [unit.file_index for unit in plan.units] == [1]


def test_the_first_bytes_of_a_plan_end_with_a_document(tmp_path: Path) -> None:
    text = "\n\n".join(f"第{i}段。\n第二行。" for i in range(200)) + "\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.gz").write_bytes(gzip.compress(text.encode()))
    files = [input_file(tmp_path / name) for name in ("a.txt", "b.gz")]
    plan = make_plan(files, [scan_file(file, 1000, ReaderSettings(), tmp_path / "work") for file in files])
    taken: dict[int, bytes] = {0: b"", 1: b""}
    for unit, data in first_bytes(plan, 3500):
        taken[unit.file_index] += data
    assert taken[0] == taken[1] == text.encode()[: len(taken[0])] and 3300 < len(taken[0]) <= 3500
    assert taken[0].endswith(b"\n\n")
