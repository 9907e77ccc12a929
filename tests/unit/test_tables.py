"""Tables: every record is a text or has a reason, at its row; nothing but strings is read and nothing runs."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import delimited, limits
from pipeline.corpora import CORPORA
from pipeline.errors import HubError, InputError
from pipeline.hub import export_from_hub
from pipeline.tables import read_table


def table(
    tmp_path: Path, data: bytes, kind: str = "csv", field: str | None = None, **more: str
) -> list[tuple[int, str | None, str]]:
    path = tmp_path / f"t.{kind}"
    path.write_bytes(data)
    return list(read_table(str(path), kind, field, **more))


def test_csv_rows_are_the_lines_that_records_start_at(tmp_path: Path) -> None:
    data = '\ufeffid,text\r\n1,"甲，\n""乙"""\r\n\r\n2,丙\n3\n4,丁,戊\n5,\n6,"己"'.encode()
    assert table(tmp_path, data) == [
        (2, '甲，\n"乙"', ""), (5, "丙", ""), (6, None, "missing_field"), (7, None, "extra_fields"), (8, None, "empty"), (9, "己", ""),
    ]  # fmt: skip


def test_csv_with_bad_bytes_keeps_the_neighbours(tmp_path: Path) -> None:
    data = b"text\n\xe5\xa5\xbd\n\xff\xfe\n\xc0\xaf\na\0b\nx\ry\n\xe5\xa5"
    rows = table(tmp_path, data)
    assert rows[:3] == [(2, "好", ""), (3, None, "invalid_utf8"), (4, None, "invalid_utf8")]
    assert rows[-1] == (7, None, "invalid_utf8") and (6, None, "invalid_csv") in rows and len(rows) == 6


def test_an_open_quote_costs_its_lines_one_by_one(tmp_path: Path) -> None:
    assert table(tmp_path, b'text\na\n"b\nc\n')[1:] == [(3, None, "unclosed_quote"), (4, None, "unclosed_quote")]


def test_a_text_that_looks_like_the_end_is_a_text(tmp_path: Path) -> None:
    assert table(tmp_path, f"text\n{delimited._END}\nx\n".encode()) == [(2, delimited._END, ""), (3, "x", "")]


def test_a_field_above_the_cap_is_an_error_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_FIELD_CHARACTERS", 200_000)
    for data in (b"text\na\n" + b"x" * 200_001, b'text\na\n"' + b"xxxx\n" * 50_000 + b'"\n'):
        monkeypatch.setattr(csv, "field_size_limit", lambda *_, original=csv.field_size_limit: original(200_000))
        with pytest.raises(InputError, match=r"t\.csv:3: a field is longer"):
            table(tmp_path, data)
    monkeypatch.undo()


def test_the_column_is_field_or_text_or_the_only_one(tmp_path: Path) -> None:
    assert table(tmp_path, b"a\tb\n1\t2\n", "tsv", "b") == [(2, "2", "")]
    assert table(tmp_path, b"a\n1\n") == [(2, "1", "")]
    for data, field in ((b"a,b\n1,2\n", None), (b"a,b\n1,2\n", "c"), (b"text,text\n1,2\n", None)):
        with pytest.raises(InputError, match=r"t\.csv:1: has (no column|several).*the columns (a, b|text, text)"):
            table(tmp_path, data, "csv", field)
    with pytest.raises(InputError, match="has no header"):
        table(tmp_path, b"")


def test_other_encodings(tmp_path: Path) -> None:
    for encoding in ("gb18030", "utf-16", "big5"):
        assert table(tmp_path, "text\n中文\n".encode(encoding), encoding=encoding) == [(2, "中文", "")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("天a,\"\n\t' ", max_size=8), st.text("地b", max_size=4)), max_size=12),
    st.sampled_from(["csv", "tsv"]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]], kind: str
) -> None:
    out = io.StringIO()
    csv.writer(out, "excel-tab" if kind == "tsv" else "excel").writerows([("text", "b"), *records])
    got = table(tmp_path_factory.mktemp("t"), out.getvalue().encode(), kind)
    assert [text for _, text, _ in got] == [text if text.strip() else None for text, _ in records]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_reasons(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    got = table(tmp_path_factory.mktemp("t"), b"text\n" + data)
    rows = [row for row, _, _ in got]
    assert rows == sorted(rows) and all((text is None) == bool(reason) for _, text, reason in got)


TEXTS = ["甲", None, "", "乙\n丙"]
EXPECTED = [(1, "甲", ""), (2, None, "null"), (3, None, "empty"), (4, "乙\n丙", "")]


def write(path: Path, kind: str, data: pa.Table) -> str:
    if kind == "parquet":
        pq.write_table(data, path, row_group_size=3)
    else:
        with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(str(path), data.schema) as writer:
            writer.write_table(data, max_chunksize=3)
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
@pytest.mark.parametrize(
    "type", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_columns_of_strings(tmp_path: Path, kind: str, type: pa.DataType) -> None:
    array = pa.array(TEXTS).dictionary_encode() if pa.types.is_dictionary(type) else pa.array(TEXTS, type)
    columns = {"id": pa.array(range(4)), "text": array}
    url = write(tmp_path / "t", kind, pa.table(columns))
    assert list(read_table(url, "parquet" if kind == "parquet" else "arrow", None)) == EXPECTED


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_other_columns_and_extension_types_are_refused(tmp_path: Path, kind: str) -> None:
    as_kind = "parquet" if kind == "parquet" else "arrow"
    marked = pa.field("evil", pa.binary(), metadata={"ARROW:extension:name": "ray.data.arrow_pickled_object"})
    nested = pa.field("s", pa.struct([marked]))
    for field, value in ((marked, b"x"), (nested, {"evil": b"x"})):
        url = write(
            tmp_path / "t",
            kind,
            pa.table([pa.array([value], field.type), pa.array(["a"])], schema=pa.schema([field, ("text", pa.string())])),
        )
        with pytest.raises(InputError, match="extension type"):
            list(read_table(url, as_kind, None))
    url = write(tmp_path / "t", kind, pa.table({"n": [1], "b": ["x"]}))
    with pytest.raises(InputError, match=r"t:1: column 'n' is not text .*int64"):
        list(read_table(url, as_kind, "n"))
    with pytest.raises(InputError, match="the columns n, b"):
        list(read_table(url, as_kind, None))


def read_as(url: str, kind: str) -> list[tuple[int, str | None, str]]:
    return list(read_table(url, "parquet" if kind == "parquet" else "arrow", None))


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_a_file_cut_anywhere_is_an_input_error(tmp_path: Path, kind: str) -> None:
    texts = pa.array(["甲" * 50, "乙" * 40, "丙"] * 3)
    url = write(tmp_path / "t", kind, pa.table({"text": texts, "again": texts.dictionary_encode()}))
    assert len(read_as(url, kind)) == 9
    data = (tmp_path / "t").read_bytes()
    for cut in range(len(data) - 1, 8, -4):
        (tmp_path / "t").write_bytes(data[:cut])
        with pytest.raises(InputError, match=r"t(:\d+)?: "):
            read_as(url, kind)


def test_a_stream_cut_between_batches_says_so(tmp_path: Path) -> None:
    for legacy in (False, True):
        table, path = pa.table({"text": ["甲" * 50] * 9}), tmp_path / "t"
        options = pa.ipc.IpcWriteOptions(use_legacy_format=legacy)
        ends = []
        with path.open("wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as writer:
            for batch in table.to_batches(max_chunksize=3):
                writer.write_batch(batch)
                ends.append(file.tell())
        assert len(read_as(str(path), "stream")) == 9
        data = path.read_bytes()
        for cut, rows in zip(ends, (3, 6, 9), strict=True):
            path.write_bytes(data[:cut])
            with pytest.raises(InputError, match=rf"t:{rows + 1}: is cut short.*end-of-stream marker"):
                read_as(str(path), "stream")
        path.write_bytes(data * 2)  # what follows the marker would be lost as silently
        with pytest.raises(InputError, match="bytes follow the end-of-stream marker"):
            read_as(str(path), "stream")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["parquet", "file", "stream"]),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_changed_bytes_give_rows_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "t"
    write(path, kind, pa.table({"text": pa.array(["甲" * 50, "乙"] * 5).dictionary_encode()}))
    data = bytearray(path.read_bytes())
    for place, byte in changes:
        data[place % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_as(str(path), "parquet" if kind == "parquet" else "arrow")


CELL = "长" * (1 << 20)  # 3 MiB


def bomb(path: Path, kind: str) -> None:
    """Write a table of a few kilobytes that stands for a gigabyte of text."""
    if kind == "text of many rows in Parquet":
        column = pa.array([CELL]).dictionary_encode()
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(340, np.int32)), column.dictionary)
        pq.write_table(pa.table({"text": column}), path, compression="zstd")
    elif kind == "pages of Parquet":
        pq.write_table(pa.table({"text": [CELL + str(i) for i in range(30)]}), path, compression="zstd", use_dictionary=False)
    else:
        if kind == "dictionary of Arrow":
            column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(340, np.int32)), pa.array([CELL]))
        else:
            column = pa.array([CELL] * 30)
        table = pa.table({"text": column})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (pa.ipc.new_file if "file" in kind else pa.ipc.new_stream)(str(path), table.schema, options=options) as writer:
            writer.write_table(table)


@pytest.mark.parametrize(
    "kind",
    [
        "text of many rows in Parquet",
        "pages of Parquet",
        "dictionary of Arrow",
        "buffers of an Arrow file",
        "buffers of a stream",
    ],
)
def test_tables_that_expand_meet_the_caps(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t"
    bomb(path, kind)
    assert path.stat().st_size < 100_000
    rows = 0
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(InputError, match=r"t:\d+: decompresses to more than 200 times its size"):
        for _ in read_table(str(path), "parquet" if "Parquet" in kind else "arrow", None):
            rows += 1
    # The floor is what any small file may hold; beside it one portion is decoded.
    assert rows <= limits.RATIO_FLOOR_BYTES // len(CELL.encode())
    assert pa.default_memory_pool().max_memory() - before < 100 << 20
    monkeypatch.setattr(limits, "MAX_RATIO", 1 << 20)
    monkeypatch.setattr(limits, "MAX_DECOMPRESSED_BYTES", 10 << 20)
    with pytest.raises(InputError, match=r"t:\d+: decompresses to more than is read of one file"):
        read_as(str(path), "parquet" if "Parquet" in kind else "arrow")


def test_a_batch_too_large_for_memory_is_refused_unless_it_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TABLE_BATCH_BYTES", 10_000)
    table, path = pa.table({"text": ["a", *("甲" * 4000 for _ in range(3))]}), tmp_path / "t"
    for make in (pa.ipc.new_file, pa.ipc.new_stream):
        for compression in (None, "zstd"):
            with make(str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
                writer.write_table(table, max_chunksize=1)
                writer.write_table(table)
            if compression is None:
                assert len(read_as(str(path), "arrow")) == 8
            else:
                with pytest.raises(InputError, match=r"t:2: a batch is larger than may be held"):
                    read_as(str(path), "arrow")


def test_text_that_is_not_utf8_in_arrow_is_a_dropped_row(tmp_path: Path) -> None:
    array = pa.array([b"a", b"\xff", b"b"]).view(pa.string())
    url = write(tmp_path / "t", "file", pa.table({"text": array}))
    assert list(read_table(url, "arrow", None)) == [(1, "a", ""), (2, None, "invalid_utf8"), (3, "b", "")]


def test_offsets_and_indices_out_of_range_are_refused_before_a_value_is_touched(tmp_path: Path) -> None:
    def offsets(last: int) -> bytes:
        return b"".join(n.to_bytes(4, "little") for n in (0, 3, last))

    url = write(tmp_path / "t", "file", pa.table({"text": ["abc", "def"]}))
    data = (tmp_path / "t").read_bytes()
    assert data.count(offsets(6)) == 1
    wild = pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), pa.array(["a"]), safe=False)
    for make in (
        lambda: (tmp_path / "t").write_bytes(data.replace(offsets(6), offsets(2**30))),
        lambda: write(tmp_path / "t", "file", pa.table({"text": wild})),
    ):
        make()
        with pytest.raises(InputError, match=r"t:1: cannot be read"):
            list(read_table(url, "arrow", None))


def test_folders_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_dict({"text": ["甲", None, "乙"], "n": [1, 2, 3]})
    one.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"test": one.select([0]), "train": one}).save_to_disk(tmp_path / "both")
    for name in ("one", "both"):
        assert list(read_table(str(tmp_path / name), "datasets", None)) == [(1, "甲", ""), (2, None, "null"), (3, "乙", "")]
    shard = tmp_path / "one" / "data-00001-of-00002.arrow"
    data = shard.read_bytes()
    shard.write_bytes(data.removesuffix(b"\xff\xff\xff\xff\0\0\0\0"))
    assert shard.stat().st_size == len(data) - 8
    with pytest.raises(InputError, match=r"data-00001-of-00002\.arrow:2: is cut short"):
        list(read_table(str(tmp_path / "one"), "datasets", None))
    state = tmp_path / "one" / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../both/train/data-00000-of-00001.arrow"}]}))
    with pytest.raises(InputError, match="outside of its folder"):
        list(read_table(str(tmp_path / "one"), "datasets", None))


def test_the_hub_is_written_out_by_column_or_shape(tmp_path: Path) -> None:
    source = tmp_path / "hub"
    source.mkdir()
    pq.write_table(pa.table({"title": ["问", "题"], "answer": ["答", None], "body": ["x", "y"]}), source / "train.parquet")

    def export(field: str | None, rows_are: str = "documents") -> list[str]:
        path = export_from_hub(str(source), None, rows_are, tmp_path / "work", "looked", field)
        return path.read_text(encoding="utf-8").splitlines()

    assert [json.loads(line) for line in export("answer")] == [{"text": "答"}, {"text": None}]
    assert [json.loads(line)["answer"] for line in export(None)] == ["答", None]
    assert export("body", "lines") == ["x", "", "y", ""]
    with pytest.raises(HubError, match=r"has no column 'none'.*title, answer, body"):
        export("none")


def test_corpora_of_nlp_chinese_corpus_have_names() -> None:
    names = {"wiki_zh", "news2016zh", "baike2018qa", "webtext2019zh", "translation2019zh"}
    assert names <= CORPORA.keys() and all(CORPORA[name].format == "jsonl" for name in names)
    assert CORPORA["translation2019zh"].language("en") == "en"
