"""Tables as texts: one column of CSV, TSV, Parquet, Arrow and folders of `datasets`, a record at a time.

Rows: in CSV and TSV the 1-based line of the file on which a record starts; else the 1-based number of the record.
The column is `field`, else ``text``, else the only one. Memory holds one record of CSV, or of the others up to 256 within the
caps of `pipeline.limits`: what one file gives, of Parquet what is decoded at once, of Arrow what a batch takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import fsspec

from pipeline import limits
from pipeline.arrow_messages import BROKEN, MessageCap, file_batches, stream_batches
from pipeline.compressed import ExpansionCap
from pipeline.delimited import read_delimited
from pipeline.errors import InputError
from pipeline.table_column import choose_column, column_values, refuse_extensions

TableRow = tuple[int, str | None, str]
Values = Iterator[bytes | None]
_BATCH_ROWS = 256
_SHARD = re.compile(r"(.*-)?train(-\d{5}-of-\d{5})?\.arrow")


def read_table(url: str, kind: str, field: str | None, encoding: str = "utf-8") -> Iterator[TableRow]:
    """Yield (row, text or None, reason or "") for each record of a table of `kind`: csv, tsv, parquet, arrow or datasets.

    A record is a text or has a reason: `null`, `empty`, `invalid_utf8`; in CSV and TSV also `missing_field`, `extra_fields`,
    `invalid_csv`, `unclosed_quote`. Raises InputError for a table that cannot be read, has no such column of text, or holds an
    extension type anywhere.
    """
    if kind in ("csv", "tsv"):
        with fsspec.open(url, "rb") as stream:
            yield from read_delimited(stream, kind, field, url, encoding)
        return
    for row, raw in enumerate(_readable({"parquet": _parquet, "arrow": _arrow, "datasets": _datasets}[kind](url, field), url), 1):
        yield row, *_text(raw)


def _text(raw: bytes | None) -> tuple[str | None, str]:
    if raw is None:
        return None, "null"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None, "invalid_utf8"
    return (None, "empty") if not text or text.isspace() else (text, "")


def _readable(values: Values, url: str) -> Values:
    import pyarrow as pa

    row = 0
    try:
        for value in values:
            row += 1
            yield value
    except (pa.ArrowException, OSError, *BROKEN) as error:
        raise InputError("cannot be read", where=f"{url}:{row + 1}", got=" ".join(str(error).split())[:200]) from error


def _capped(values: Values, url: str, file_bytes: int) -> Values:
    """Yield the values of one file while its bytes account for the room they take: one text can stand for many rows."""
    size = 0
    for row, value in enumerate(values, 1):
        size += len(value or b"")
        ExpansionCap(f"{url}:{row}").check(size, file_bytes)
        yield value


def _parquet(url: str, field: str | None) -> Values:
    import pyarrow.parquet as pq

    with fsspec.open(url, "rb") as stream:
        # Without pre-buffering and with a small buffer, pages are read as they are needed, not a row group at once.
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        refuse_extensions(file.schema_arrow, url)
        column = choose_column(file.schema_arrow, field, url)
        file_bytes = stream.seek(0, 2)
        sizes = _chunk_bytes(file.metadata, column)
        ExpansionCap(f"{url}:1").check(sum(sizes), file_bytes)
        # No text is longer than the chunk it lies in, but a dictionary gives it to any number of rows.
        rows = min(max(limits.TABLE_READ_BYTES // max([1, *sizes]), 1), _BATCH_ROWS)
        batches = file.iter_batches(batch_size=rows, columns=[column], use_threads=False)
        values = (value for batch in batches for value in column_values(batch.column(column), check=False))
        yield from _capped(values, url, file_bytes)


def _chunk_bytes(metadata: Any, column: str) -> list[int]:
    """Return the bytes that the column takes in each row group, decompressed."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(metadata.num_columns)]
    return [chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column]


def _arrow(url: str, field: str | None) -> Values:
    import pyarrow as pa

    fs, path = fsspec.core.url_to_fs(url)
    local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
    # A mapped file costs memory only for what is looked at, however large its batches are.
    with pa.memory_map(path) if local else fs.open(path, "rb") as stream:
        stream.seek(0, 2)
        file_bytes = stream.tell()
        cap = MessageCap(url, file_bytes, mapped=local)
        batches = _batches(stream, field, url, cap)
        values = (value for batch, column in batches for value in column_values(batch.column(column), check=True))
        yield from _capped(values, url, file_bytes)


def _batches(stream: Any, field: str | None, url: str, cap: MessageCap) -> Iterator[tuple[Any, str]]:
    import pyarrow as pa

    stream.seek(0)
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    opened = pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
    refuse_extensions(opened.schema, url)
    column = choose_column(opened.schema, field, url)
    options = pa.ipc.IpcReadOptions(included_fields=[opened.schema.get_field_index(column)], use_threads=False)
    stream.seek(0)
    if is_file:
        batches = file_batches(stream, pa.ipc.open_file(stream, options=options), cap)
    else:
        batches = stream_batches(stream, pa.ipc.open_stream(stream, options=options), cap)
    yield from ((batch, column) for batch in batches)


def _datasets(url: str, field: str | None) -> Values:
    for file in dataset_files(url):
        yield from _arrow(file, field)


def dataset_files(url: str) -> list[str]:
    """Return the Arrow files, in order, of the train split, or of the only one, of a folder that `datasets` has written.

    Raises InputError when there are several splits and none is called train.
    """
    fs, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    if fs.isfile(f"{root}/dataset_dict.json"):
        splits = _json(fs, f"{root}/dataset_dict.json").get("splits")
        splits = [split for split in splits if isinstance(split, str)] if isinstance(splits, list) else []
        if "train" not in splits and len(splits) != 1:
            raise InputError("has no split 'train'", where=url, got=", ".join(splits), hint="Give the folder of one split")
        root = f"{root}/{_name('train' if 'train' in splits else splits[0], url)}"
    if fs.isfile(f"{root}/state.json"):
        state = _json(fs, f"{root}/state.json")
        if state.get("_indices_data_files"):
            raise InputError("is a selection of another data set", where=url, hint="Save it after flatten_indices()")
        entries = state.get("_data_files")
        listed = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        names = [_name(name, url) for name in listed]
    else:
        names = sorted(name for path in fs.glob(f"{root}/*.arrow") if _SHARD.fullmatch(name := PurePosixPath(path).name))
    if not names:
        raise InputError("holds no Arrow files of a split 'train'", where=url)
    return [fs.unstrip_protocol(f"{root}/{name}") for name in names]


def _json(fs: Any, path: str) -> dict[str, Any]:
    try:
        value = json.loads(fs.cat_file(path))
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON", where=path, got=str(error)[:100]) from error
    if not isinstance(value, dict):
        raise InputError("is not a JSON object", where=path)
    return value


def _name(name: object, url: str) -> str:
    """Return a file name that stays in its folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError("lists a file outside of its folder", where=url, got=repr(name)[:100])
    return name
