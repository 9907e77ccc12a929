"""Hostile text in each of txt, gz, jsonl and csv: never a crash, never a silent loss, and the rows around it stay.

A case is a row between two good ones. `read` checks ``read = kept + Σ dropped`` for documents and rows each time; here the
rows of the input are counted against the ledger too, so that nothing can vanish before it.
"""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path

import pytest

from pipeline.clean import clean_text
from pipeline.documents import MAX_REJECTS_PER_REASON
from pipeline.errors import EncodingError
from shards.manifest import Manifest
from tests.helpers.builds import build
from tests.helpers.commands import run
from tests.helpers.reading import Read, read

FORMATS = ("txt", "gz", "jsonl", "csv")
FIRST, LAST = "第一行很好。", "最后一行也好。"
KEPT, BLANK = "kept", "blank"


def csv_row(content: bytes) -> bytes:
    return b'"' + content.replace(b'"', b'""') + b'"'


def json_row(content: str | bytes) -> bytes:
    if isinstance(content, str):
        return json.dumps({"text": content}, ensure_ascii=False).encode()
    return b'{"text": "' + content + b'"}'


def write(folder: Path, kind: str, contents: list[str | bytes], rows: dict[int, bytes] | None = None) -> Path:
    """Write rows in a format: documents of one row. `rows` replaces whole rows by raw bytes, as they stand in the file."""
    raw = [content if isinstance(content, bytes) else content.encode() for content in contents]
    made = [json_row(c) for c in contents] if kind == "jsonl" else [csv_row(r) for r in raw] if kind == "csv" else raw
    made = [(rows or {}).get(i, row) for i, row in enumerate(made)]
    data = (b"\n\n" if kind in ("txt", "gz") else b"\n").join(made) + b"\n"
    path = folder / {"txt": "f.txt", "gz": "f.txt.gz", "jsonl": "f.jsonl", "csv": "f.csv"}[kind]
    path.write_bytes(gzip.compress(data) if kind == "gz" else b"text\n" + data if kind == "csv" else data)
    return path


def row_number(found: Read, kind: str, position: int) -> int:
    """Return the row number of the document at `position` (from 0) of the file; that of the first is 1 but in tables."""
    return position * 2 + 1 if kind in ("txt", "gz") else found.raw[0].rows[0] + position


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# name → content of the row, what becomes of it, and what differs in jsonl and csv, where an empty row is a record.
CASES: dict[str, tuple[str | bytes, str, str]] = {
    "invalid UTF-8 byte mid-line": (b"\xe4\xbd\xa0\xff\xe5\xa5\xbd", "invalid_utf8", "invalid_utf8"),
    "a character cut in the middle": ("好的".encode()[:-1], "invalid_utf8", "invalid_utf8"),
    "overlong encoding": (b"a\xc0\xafb\xe0\x80\xaf", "invalid_utf8", "invalid_utf8"),
    "surrogates in UTF-8": (b"a\xed\xa0\xbd\xed\xb8\x80b", "invalid_utf8", "invalid_utf8"),
    "beyond U+10FFFF": (b"a\xf4\x90\x80\x80b", "invalid_utf8", "invalid_utf8"),
    "a row that names its own reason": (b"\xff!line_too_long", "invalid_utf8", "invalid_utf8"),
    "a row that names an encoding": (b"\xff!invalid_gb18030", "invalid_utf8", "invalid_utf8"),
    "BOM inside": ("前\ufeff后", KEPT, KEPT),
    "C0, DEL and C1 controls": ("前\x01\x02\x1b\x7f\x9f后", KEPT, KEPT),
    "line and paragraph separators": ("前\u2028中\u2029后", KEPT, KEPT),
    "next line, VT, FF and FS": ("前\x85中\x0b中\x0c中\x1c中\x1d中\x1e后", KEPT, KEPT),
    "an escape of a lone surrogate": ("前\\ud83d后", KEPT, KEPT),
    "empty": ("", BLANK, "empty"),
    "white space only": (" \t  ", BLANK, "empty"),
    "ideographic space only": ("\u3000\u3000", BLANK, "empty"),
    "only zero-width characters": ("\u200b\u200e\u2060", "empty", "empty"),
    "only controls": ("\x01\x02", "empty", "empty"),
    "only punctuation": ("。！？……", KEPT, KEPT),
    "one character": ("一", KEPT, KEPT),
    "traditional and simplified": ("漢语汉語，臺湾台灣。", KEPT, KEPT),
    "emoji": ("👨‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇨🇳", KEPT, KEPT),
    "supplementary-plane Han": ("𠮷野家在𠀋旁边。", KEPT, KEPT),
    "combining marks": ("e\u0301 é ẹ\u0302 각 각", KEPT, KEPT),
    "right to left": ("שלום \u202eabc\u202c عربى ﷺ", KEPT, KEPT),
    "full-width": ("ＡＢＣ１２３，：", KEPT, KEPT),
    "zero-width characters": ("前\u200b中\u200c后", KEPT, KEPT),
    "100,000 times one character": ("一" * 100_000, KEPT, KEPT),
    "noncharacters": ("前\ufffe\uffff\U0010ffff后", KEPT, KEPT),
    "text that looks like markup": ('<doc id="1">{"text": "x"},"y"\t</doc>', KEPT, KEPT),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_row_is_kept_or_has_a_reason_and_its_neighbours_stay(tmp_path: Path, kind: str, name: str) -> None:
    content, in_text, in_records = CASES[name]
    found = read(write(tmp_path, kind, [FIRST, content, LAST]), tmp_path / "work")
    path = found.plan.corpus[0].path
    outcome = in_text if kind in ("txt", "gz") else in_records
    place = row_number(found, kind, 1)
    assert found.texts[0] == FIRST and found.texts[-1] == LAST
    assert [d.rows[0] for d in (found.raw[0], found.raw[-1])] == [row_number(found, kind, 0), row_number(found, kind, 2)]
    assert found.ledger.rows_read == (2 if outcome == BLANK else 3)
    if outcome == KEPT:
        assert isinstance(content, str) and not found.rejects
        assert found.texts == [FIRST, content, LAST] and tuple(found.raw[1].rows) == (place,)
        assert found.kept[1].text == clean_text(content) and found.ledger.rows_kept == 3
    else:
        assert found.rejects == ({} if outcome == BLANK else {outcome: [f"{path}:{place}"]})
        assert [d.text for d in found.kept] == [FIRST, LAST]


@pytest.mark.parametrize("before", range(14, 22))
@pytest.mark.parametrize("packed", ["txt", "gz"])
def test_no_row_chooses_its_own_reason_wherever_portions_end(
    tmp_path: Path, packed: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.limits.MAX_LINE_BYTES", 20)  # which is how much is read at once, too
    path = write(tmp_path, packed, ["a" * before, b"\xff!line_too_long", "b"])
    found = read(path, tmp_path / "work")
    too_long = [f"{path.name}:1"] if before > 20 else []
    assert found.rejects.get("line_too_long", []) == too_long and found.rejects["invalid_utf8"] == [f"{path.name}:3"]
    assert found.texts[-1] == "b" and found.ledger.rows_read == 3


def test_a_whole_row_of_jsonl_that_names_its_own_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [FIRST, "x", LAST], {1: b"\xff!line_too_long"})
    found = read(path, tmp_path / "work")
    assert found.texts == [FIRST, LAST] and found.rejects == {"invalid_utf8": ["f.jsonl:2"]}


def test_what_cleaning_must_leave_alone_and_what_it_must_not(tmp_path: Path) -> None:
    names = [name for name, case in CASES.items() if case[1] == KEPT]
    found = read(write(tmp_path, "txt", [CASES[name][0] for name in names]), tmp_path / "work")
    cleaned = dict(zip(names, (d.text for d in found.kept), strict=True))
    for name in (
        "only punctuation",
        "one character",
        "traditional and simplified",
        "supplementary-plane Han",
        "combining marks",
        "emoji",
    ):
        assert cleaned[name] == CASES[name][0], name
    for text in cleaned.values():
        assert not any(unicodedata.category(c) in ("Cc", "Cs") or c in "\ufeff\u200b\u202e\u2028" for c in text)


# What a line of JSON can do to a parser; in the other formats these are rows of text like any other.
JSON_ROWS = {
    "no JSON": b"{not json", "an array": b'["a"]', "a string": b'"a"', "a number as text": b'{"text": 5}', "no text": b'{"other": "x"}',
    "null": b'{"text": null}', "cut off": b'{"text": "a', "two objects": b'{"text": "a"}{"text": "b"}', "nested 100,000 deep": b"[" * 100_000,
    "nested inside": b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "an integer of 5,000 digits": b'{"text": ' + b"9" * 5000 + b"}",
    "an integer of 5,000 digits beside": b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "NaN": b'{"text": NaN}',
    "an unescaped control": b'{"text": "a\x01b"}', "a bad escape": b'{"text": "\\x41"}',
}  # fmt: skip
# Where the reader may keep the row or give a reason: JSON itself leaves it open.
JSON_EITHER = {
    "duplicate keys": b'{"text": "a", "text": "b"}', "NaN beside": b'{"text": "a", "n": NaN}', "a lone surrogate": b'{"text": "a\\ud83db"}',
    "NUL in an escape": b'{"text": "a\\u0000b"}', "only a lone surrogate": b'{"text": "\\ud83d"}',
}  # fmt: skip


@pytest.mark.parametrize("name", [*JSON_ROWS, *JSON_EITHER])
def test_json_that_no_parser_likes(tmp_path: Path, kind: str, name: str) -> None:
    raw = (JSON_ROWS | JSON_EITHER)[name]
    found = read(write(tmp_path, kind, [FIRST, raw, LAST], {1: raw} if kind == "jsonl" else None), tmp_path / "work")
    path = found.plan.corpus[0].path
    place = row_number(found, kind, 1)
    assert found.kept[0].text == FIRST and found.kept[-1].text == LAST and found.ledger.rows_read == 3
    if kind != "jsonl":
        # As text it is kept as it is; brackets and nothing else are leftover markup.
        only_markup = found.rejects == {"markup": [f"{path}:{place}"]} and not raw.strip(b"[]")
        assert only_markup or (not found.rejects and found.texts[1] == raw.decode())
    elif name in JSON_ROWS:
        assert list(found.rejects.values()) == [[f"{path}:{place}"]] and len(found.kept) == 2
    else:
        assert list(found.rejects.values()) == [[f"{path}:{place}"]] or len(found.kept) == 3
        "".join(d.text for d in found.kept).encode()  # no lone surrogate gets further


def test_a_nul_is_a_control_like_any_other(tmp_path: Path, kind: str) -> None:
    found = read(write(tmp_path, kind, [FIRST, "前\x00后", LAST]), tmp_path / "work")
    assert found.ledger.rows_read == 3 and [found.kept[0].text, found.kept[-1].text] == [FIRST, LAST]
    assert found.rejects or found.kept[1].text == "前后"


def test_utf8_cut_in_the_middle_at_the_end_of_the_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [FIRST, "中间", "末尾"])
    data = gzip.decompress(path.read_bytes()) if kind == "gz" else path.read_bytes()
    data = data[: data.rindex("尾".encode()) + 2]
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    found = read(path, tmp_path / "work")
    assert found.texts == [FIRST, "中间"] and found.ledger.rows_read == 3
    assert list(found.rejects.values()) == [[f"{path.name}:{row_number(found, kind, 2)}"]]
    assert kind == "csv" or set(found.rejects) == {"invalid_utf8"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk", "big5"])
def test_a_file_in_another_encoding_is_refused_with_the_flag_that_reads_it(tmp_path: Path, kind: str, encoding: str) -> None:
    contents = (
        ["他說這是一個大的國家。", "我們去公園，天氣很好。"]
        if encoding == "big5"
        else ["他说这是一个大的国家。", "我们去公园，天气很好。"]
    )
    path = write(tmp_path, kind, list[str | bytes](contents * 30))
    data = gzip.decompress(path.read_bytes()) if kind == "gz" else path.read_bytes()
    data = data.decode().encode(encoding)
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    suggested = "gb18030" if encoding == "gbk" else encoding
    with pytest.raises(
        EncodingError, match=f"{path.name}: is not UTF-8: .* looks like {suggested.upper()}: pass --encoding {suggested}$"
    ):
        read(path, tmp_path / "work")
    assert read(path, tmp_path / "work", encoding=suggested).texts == contents * 30


def test_a_bom_at_the_start_is_no_text(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [FIRST, LAST])
    data = gzip.decompress(path.read_bytes()) if kind == "gz" else path.read_bytes()
    data = b"\xef\xbb\xbf" + data
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    found = read(path, tmp_path / "work")
    assert [d.text for d in found.kept] == [FIRST, LAST] and not found.rejects
    assert marks(found) == 1, "what is taken off is counted, whoever does it"


@pytest.mark.parametrize("form", ["wikiextractor", "mediawiki", "utf-16", "csv in utf-16", "gb18030"])
def test_a_bom_at_the_start_of_other_files_is_no_text_either(tmp_path: Path, form: str) -> None:
    text = {
        "wikiextractor": f'<doc id="1" url="" title="T">\nT\n\n{FIRST}\n\n</doc>\n',
        "mediawiki": "<mediawiki>\n<page>\n<ns>0</ns>\n<revision>\n"
        f'<text xml:space="preserve">{FIRST}</text>\n</revision>\n</page>\n</mediawiki>\n',
        "csv in utf-16": f"text\n{FIRST}\n",
    }.get(form, f"{FIRST}\n")
    encoding = "gb18030" if form == "gb18030" else "utf-16-le" if form.endswith("utf-16") else "utf-8"
    path = tmp_path / ("f.csv" if form.startswith("csv") else "f")
    path.write_bytes(f"\ufeff{text}".encode(encoding))
    found = read(path, tmp_path / "work", encoding=encoding.removesuffix("-le"))
    assert [d.text for d in found.kept] == [FIRST] and set(found.rejects) <= {"title"}
    assert marks(found) == 1


def marks(found: Read) -> int:
    """Return how many byte order marks were counted, in rows by readers and rules or as one of the file."""
    changed = found.ledger.rows_changed
    return changed["byte_order_mark"] + changed["remove_byte_order_marks@1"] + len(found.plan.marked)


@pytest.mark.parametrize("ends", [["\r\n"], ["\n", "\r\n"], ["\r\r\n"]], ids=["CRLF", "mixed", "CRCRLF"])
def test_line_ends_of_other_systems(tmp_path: Path, kind: str, ends: list[str]) -> None:
    if kind == "csv" and ends == ["\r\r\n"]:
        pytest.skip("a lone CR ends a record of some CSV dialects")
    path = write(tmp_path, kind, [FIRST, "中间", LAST])
    data = gzip.decompress(path.read_bytes()) if kind == "gz" else path.read_bytes()
    rows = data.decode().split("\n")
    data = "".join(row + ends[i % len(ends)] for i, row in enumerate(rows[:-1])).encode()
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    found = read(path, tmp_path / "work")
    assert found.texts == [FIRST, "中间", LAST] and found.ledger.rows_read == 3
    assert [d.rows[0] for d in found.raw] == [row_number(found, kind, i) for i in range(3)]


def test_a_lone_carriage_return_parts_no_rows(tmp_path: Path, kind: str) -> None:
    found = read(write(tmp_path, kind, [FIRST, "前\r后", LAST]), tmp_path / "work")
    assert len(found.raw) == 3 and found.ledger.rows_read == 3 and found.raw[-1].text == LAST


@pytest.mark.parametrize("name", ["empty file", "blank rows only"])
def test_a_file_without_documents_reads_as_none(tmp_path: Path, kind: str, name: str) -> None:
    data = (b"" if name == "empty file" else b"\n \n\t\n") if kind != "csv" else b"text\n"
    path = tmp_path / {"txt": "f.txt", "gz": "f.txt.gz", "jsonl": "f.jsonl", "csv": "f.csv"}[kind]
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    found = read(path, tmp_path / "work", format="jsonl" if kind == "jsonl" else "auto")
    assert not found.raw and found.ledger.documents_read == 0


def test_a_record_without_its_text_column_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(f"id,text\n1,{FIRST}\n2\n3,{LAST}\n", encoding="utf-8")
    found = read(tmp_path / "f.csv", tmp_path / "work")
    assert found.texts == [FIRST, LAST] and found.ledger.rows_read == 3
    assert list(found.rejects.values()) == [[f"f.csv:{found.raw[0].rows[0] + 1}"]]


@pytest.mark.parametrize("unit_bytes", [1, 20, 1 << 20])
def test_all_at_once_in_units_of_any_size(tmp_path: Path, kind: str, unit_bytes: int) -> None:
    contents = [c for c, _, _ in CASES.values() if len(c) < 1000]
    contents = [x for c in contents for x in (FIRST, c)] + [LAST]
    found = read(write(tmp_path, kind, contents), tmp_path / "work", unit_bytes=unit_bytes)
    outcomes = [case[1 if kind in ("txt", "gz") else 2] for case in CASES.values() if len(case[0]) < 1000]
    kept = sum(outcome == KEPT for outcome in outcomes) + len(outcomes) + 1
    assert len(found.kept) == kept == found.ledger.rows_kept
    assert found.ledger.rows_read == 2 * len(outcomes) + 1 - outcomes.count(BLANK)
    for reason in ("invalid_utf8", "empty"):
        rows = [row_number(found, kind, 2 * i + 1) for i, outcome in enumerate(outcomes) if outcome == reason]
        assert sorted(found.rejects[reason]) == sorted(f"{found.plan.corpus[0].path}:{row}" for row in rows)


SMALL = ("--engine", "local", "--vocab-size", "600", "--max-seq-len", "64", "--heldout", "0.1", "--corpus", "text")
ARTICLE = "今天天气很好，我们去公园玩。孩子们在草地上放风筝！研究生研究生命起源。"


def test_all_of_it_builds_and_the_manifest_accounts_for_every_row(tmp_path: Path, kind: str) -> None:
    json_rows = JSON_ROWS | JSON_EITHER
    contents: list[str | bytes] = [content for content, _, _ in CASES.values()] + ["前\x00后", *json_rows.values()]
    between = [x for i, content in enumerate(contents) for x in (f"第{i}篇。{ARTICLE}", content)] + [LAST]
    raw = {2 * (len(CASES) + 1 + i) + 1: row for i, row in enumerate(json_rows.values())} if kind == "jsonl" else None
    path = write(tmp_path, kind, between, raw)
    code, report = build(tmp_path, *SMALL, "--input", str(path), "--unit-size", "4096")
    assert code == 0, report
    manifest = Manifest.read(tmp_path / "shards" / "text")
    tally, rejects = manifest.tally, manifest.made["rejects"]
    assert tally.read == tally.kept + sum(tally.dropped.values()) and tally.kept > len(contents)
    assert tally.rows_read == tally.rows_kept + sum(tally.rows_dropped.values())
    blank = sum(case[1 if kind in ("txt", "gz") else 2] == BLANK for case in CASES.values())
    assert tally.rows_read == len(between) - blank
    assert {reason: len(places) for reason, places in rejects.items()} == {
        reason: min(count, MAX_REJECTS_PER_REASON) for reason, count in tally.rows_dropped.items()
    }
    first = 2 if kind == "csv" else 1
    step = 2 if kind in ("txt", "gz") else 1
    for places in rejects.values():
        rows = [int(place.removeprefix(f"{path.name}:")) for place in places]
        assert all((row - first) % step == 0 and (row - first) // step % 2 == 1 for row in rows), "no good row is among them"


@pytest.mark.parametrize("packed", FORMATS)
def test_the_manifest_names_what_was_left_out(tmp_path: Path, packed: str) -> None:
    contents: list[str | bytes] = [f"第{i}篇。{ARTICLE}" for i in range(60)]
    contents[30] = b"\xe4\xbd\xff"
    path = write(tmp_path, packed, contents)
    ran = run("pipeline.build", *SMALL, "--input", str(path), "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    manifest = Manifest.read(tmp_path / "shards" / "text")
    tally = manifest.tally
    assert (tally.rows_read, tally.rows_kept, dict(tally.rows_dropped)) == (60, 59, {"invalid_utf8": 1})
    (place,) = manifest.made["rejects"]["invalid_utf8"]
    assert place.startswith(f"{path.name}:") and int(place.split(":")[1]) in ((61,) if packed in ("txt", "gz") else (31, 32))
    assert not [p for p in (tmp_path / "shards" / "text").iterdir() if p.name.startswith(".build")]


def test_the_command_refuses_and_then_reads_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_bytes("\n\n".join(f"第{i}篇。{ARTICLE}" for i in range(60)).encode("gb18030"))
    ran = run("pipeline.build", *SMALL, "--input", "f.txt", cwd=tmp_path)
    assert ran.code == EncodingError.exit_code and "looks like GB18030: pass --encoding gb18030" in ran.err
    ran = run("pipeline.build", *SMALL, "--input", "f.txt", "--encoding", "gb18030", "--json", cwd=tmp_path)
    assert ran.code == 0 and ran.json["figures"]["documents_kept"] == 60, ran.err
    assert Manifest.read(tmp_path / "shards" / "text").recipe["reader"]["encoding"] == "gb18030"
