"""Giant rows, documents and files: memory stays bounded, a row that is too long is left out by its number, nothing else is."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pytest

from pipeline import limits
from pipeline.errors import InputError
from tests.helpers.commands import tree
from tests.helpers.reading import input_file, read, read_measured

MIB = 1 << 20


def write_giant_row(path: Path, mebibytes: int, before: str, after: str, packed: bool) -> None:
    with gzip.open(path, "wb", compresslevel=1) if packed else open(path, "wb") as file:
        file.write(before.encode())
        piece = "长".encode() * (MIB // 3)
        if packed:  # text that no cap on the ratio minds
            import numpy as np

            piece = (
                np.random.default_rng(1).integers(0x4E00, 0x9FA5, MIB // 3).astype("<u4").tobytes().decode("utf-32-le").encode()
            )
        for _ in range(mebibytes):
            file.write(piece)
        file.write(after.encode())


@pytest.mark.parametrize("packed", [False, True], ids=["txt", "gz"])
def test_a_row_of_100_mebibytes_is_left_out_by_its_number(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "f.txt"
    write_giant_row(path, 100, "第一行。\n\n第三行。\n", "\n第五行。\n", packed)
    found = read_measured(path, tmp_path / "work")
    assert found["error"] is None and found["rejects"] == {"line_too_long": ["f.txt:4"]}, found
    assert found["documents"] == 2 and found["peak_mib"] <= (200 if not packed else 300), found


@pytest.mark.slow
def test_a_gibibyte_without_a_line_feed(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    write_giant_row(path, 1040, "好。\n", "", packed=False)
    found = read_measured(path, tmp_path / "work")
    assert found["error"] is None and found["rejects"] == {"line_too_long": ["f.txt:2"]}, found
    assert found["documents"] == 1 and found["peak_mib"] <= 200, found


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("where", ["first", "middle", "last", "last, unended", "two"])
def test_rows_too_long_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, encoding: str) -> None:
    monkeypatch.setattr(limits, "MAX_LINE_BYTES", 3000)
    long = "长" * 3001
    rows = {
        "first": [long, "一", "二", "", "三"], "middle": ["一", long, "二", "", "三"], "last": ["一", "二", "", "三", long],
        "last, unended": ["一", "二", "", "三", long], "two": [long, "一", long, "二", "", "三", long],
    }[where]  # fmt: skip
    path = tmp_path / "f"
    path.write_bytes(("\n".join(rows) + ("" if where == "last, unended" else "\n")).encode(encoding))
    for unit_bytes in (1, 10, 5000):
        found = read(path, tmp_path / "work", unit_bytes=unit_bytes, encoding=encoding)
        # What stands around a row left out stays one document.
        assert found.texts == ["一\n二", "三"]
        assert found.rejects == {"line_too_long": [f"f:{i}" for i, row in enumerate(rows, 1) if row == long]}
        assert [tuple(d.rows) for d in found.raw] == [tuple(rows.index(c) + 1 for c in text.split("\n")) for text in found.texts]


def test_the_limit_itself_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LINE_BYTES", 3000)
    for extra, rejects in ((0, {}), (1, {"line_too_long": ["f:2"]})):
        (tmp_path / "f").write_bytes(b"a\n" + b"b" * (3000 + extra) + b"\nc\n")
        (tmp_path / "z").write_bytes(bz2.compress((tmp_path / "f").read_bytes()))
        assert read(tmp_path / "f", tmp_path / "work").rejects == rejects
        assert read(tmp_path / "z", tmp_path / "work").rejects == {k: ["z:2"] for k in rejects}


def test_a_json_object_too_long_is_a_row_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LINE_BYTES", 3000)
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in ("一。", "长" * 3000, "二。")]
    (tmp_path / "f").write_text("\n".join(rows), encoding="utf-8")
    found = read(tmp_path / "f", tmp_path / "work")
    assert found.texts == ["一。", "二。"] and found.rejects == {"line_too_long": ["f:2"]}


def test_a_row_that_only_looks_like_one_left_out_does_not_choose_its_reason(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("好。\n".encode() + b"\xff!my_own_reason\n\xff!invalid_" + b"x" * 99 + "\n好。\n好。\n".encode())
    assert read(tmp_path / "f", tmp_path / "work").rejects == {"invalid_utf8": ["f:2", "f:3"]}


def test_a_document_of_a_million_sentences(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("天气好。\n" * 1_000_000 + "\n完。\n", encoding="utf-8")
    found = read(path, tmp_path / "work", unit_bytes=4 * MIB)
    assert [len(d.rows) for d in found.raw] == [1_000_000, 1] and found.ledger.rows_kept == 1_000_001


def test_a_document_beyond_the_limit_is_cut_at_a_row_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DOCUMENT_BYTES", 100_000)
    rows = [f"第{i}行。" for i in range(20_000)]
    (tmp_path / "f.txt").write_text("\n".join(rows), encoding="utf-8")
    for size in (1 << 22, 1000):
        monkeypatch.setattr("pipeline.scan._READ_BYTES", size)
        found = read(tmp_path / "f.txt", tmp_path / "work", unit_bytes=1000)
        assert len(found.raw) == 3 and [line for d in found.raw for line in d.lines] == rows
    (tmp_path / "w.txt").write_text('<doc id="1" title="t">\n' + "\n".join(rows) + "\n</doc>\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"w.txt:\d+: no document ends within 100,000 bytes"):
        read(tmp_path / "w.txt", tmp_path / "work", unit_bytes=1000)


def test_a_csv_field_of_100_mebibytes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    write_giant_row(path, 100, "id,text\n1,好。\n2,", "\n3,末。\n", packed=False)
    found = read_measured(path, tmp_path / "work")
    if found["error"] is None:
        assert list(found["rejects"].values()) == [["f.csv:3"]] and found["documents"] == 2
    else:
        assert found["code"] == InputError.exit_code and found["error"].startswith("f.csv:3: ")
    assert found["peak_mib"] <= 512, found


def test_a_file_of_only_line_feeds(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"\n" * (16 * MIB))
    found = read_measured(path, tmp_path / "work")
    assert found["error"] is None and found["documents"] == 0 and found["peak_mib"] <= 200 and found["seconds"] < 20, found


def test_line_feeds_without_end_do_not_move_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes("一。\n".encode() + b"\n" * 300_000 + "二。\n".encode() + b" \n" * 100_000 + "三。".encode())
    for unit_bytes in (1024, 100_000, MIB):
        assert [(d.text, tuple(d.rows)) for d in read(path, tmp_path / "work", unit_bytes=unit_bytes).raw] == [
            ("一。", (1,)), ("二。", (300_002,)), ("三。", (400_003,)),
        ]  # fmt: skip


def test_an_empty_file_has_no_units(tmp_path: Path) -> None:
    for name, data in (("f.txt", b""), ("f.gz", gzip.compress(b"")), ("f.bz2", bz2.compress(b""))):
        (tmp_path / name).write_bytes(data)
        found = read(tmp_path / name, tmp_path / "work")
        assert found.plan.units == () and len(found.plan.corpus) == 1
    assert not [name for name in tree(tmp_path / "work") if "block" in name]
    assert input_file(tmp_path / "f.txt").size == 0
