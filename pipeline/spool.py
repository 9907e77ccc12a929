"""Inputs that cannot be cut where they lie are decoded once, streaming, into cut blocks in the build's work folder.

    <work>/<key>/block-00000 …      whole units of one or more files, in order, as UTF-8
    <work>/<key>/index.json         written last: sha256 of the source, of every block, and the cuts

The key names file, settings and unit size. A build that is started again uses the blocks when the source still has the sha256
that the index holds and every block its own; else they are made anew.
"""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec

from pipeline import limits
from pipeline.archives import Member
from pipeline.blocks import BlockWriter
from pipeline.compressed import (
    HEAD_BYTES,
    ByteStream,
    Decompressed,
    Peekable,
    SourceStream,
    archive_of,
    compression_of,
    refuse_unknown_container,
)
from pipeline.cuts import Cutter
from pipeline.dropped_row import INVALID_UTF8, invalid_encoding
from pipeline.errors import InputError
from pipeline.format_protocol import Format
from pipeline.format_rows import encoded_rows
from pipeline.formats import FORMATS, detect, format_name, table_kind
from pipeline.inputs import InputFile
from pipeline.reader_settings import ReaderSettings
from pipeline.scan import ARCHIVE, FileScan
from pipeline.spool_index import read_index, source_digest, write_index
from pipeline.tar_archive import tar_members
from pipeline.text_encoding import RowCodec, require_encoding, utf8_rows
from pipeline.zip_archive import zip_members
from shards.canonical import fingerprint
from shards.durable import commit_stream, remove_file, remove_tree
from shards.errors import WordloomError

_READ_BYTES = limits.MIB
_TABLE_NAME = "table"
_TEXT_TABLES = ("csv", "tsv")


def spool_file(file: InputFile, unit_bytes: int, settings: ReaderSettings, work: Path) -> FileScan:
    """Spool one input file, or take over what an earlier build spooled of it. Raises InputError and StorageError."""
    wanted = {"url": file.url, "path": file.path, "format": file.format, "unit_bytes": unit_bytes, **_reader(settings)}
    folder = work / f"spool-{fingerprint(wanted)[:16]}"
    found = read_index(folder, wanted, file)
    if found is not None:
        return found
    remove_tree(folder)
    try:
        with BlockWriter(folder, unit_bytes) as blocks:
            scan = _Spooler(file, unit_bytes, settings, folder, blocks).run()
        write_index(folder, wanted, scan, blocks.digests)
    except BaseException:
        with suppress(WordloomError, OSError):  # the next build clears it otherwise
            remove_tree(folder)
        raise
    return scan


def _reader(settings: ReaderSettings) -> dict[str, Any]:
    return {"encoding": settings.encoding, "field": settings.field}


class _Spooler:
    """The spooling of one input file."""

    def __init__(self, file: InputFile, unit_bytes: int, settings: ReaderSettings, folder: Path, blocks: BlockWriter) -> None:
        self.file, self.unit_bytes, self.settings, self.folder, self.blocks = file, unit_bytes, settings, folder, blocks

    def run(self) -> FileScan:
        if self.file.format == "datasets":
            size, sha256 = source_digest(self.file)
            return dataclasses.replace(self._table(self.file.url, "datasets", self.file.path), size=size, sha256=sha256)
        with fsspec.open(self.file.url, "rb") as raw:
            source = SourceStream(raw)
            stream = Peekable(source)
            compression, archive = compression_of(stream.head), archive_of(stream.head)
            plain_table = self.settings.encoding == "utf-8" and not compression and not archive and self._table_kind(stream.head)
            scan = (
                self._members(self._zip(raw, source)) if archive == "zip"
                else self._members(self._tar(stream)) if archive == "tar"
                else self._compressed(stream, compression, source) if compression
                else self._plain_table(stream.head, plain_table) if plain_table
                else self._part(stream, self.file.path)
            )  # fmt: skip
            source.drain()
        return dataclasses.replace(scan, size=source.size, sha256=source.sha256)

    def _compressed(self, stream: Peekable, kind: str, source: SourceStream) -> FileScan:
        inner = Peekable(Decompressed(stream, kind, source, self.file.path))
        if archive_of(inner.head) == "tar":
            return self._members(self._tar(inner))
        return self._part(inner, self.file.path)

    def _tar(self, stream: Peekable) -> Callable[[Counter[str]], Iterator[Member]]:
        return lambda skipped: tar_members(stream, self.file.path, skipped)

    def _zip(self, raw: Any, source: SourceStream) -> Callable[[Counter[str]], Iterator[Member]]:
        if not raw.seekable():
            raise InputError("is a zip file on a store that reads from front to back only", where=self.file.path)
        source.drain()  # the members are read out of order
        return lambda skipped: zip_members(raw, source.size, self.file.path, skipped)

    def _members(self, members: Callable[[Counter[str]], Iterator[Member]]) -> FileScan:
        skipped: Counter[str] = Counter()
        scans: list[FileScan] = []
        total = 0
        for member in members(skipped):
            path = f"{self.file.path}!/{member.name}"
            counted = SourceStream(member.stream)
            scan = self._part(Peekable(counted), path)
            counted.drain()
            total += counted.size
            if total > limits.MAX_DECOMPRESSED_BYTES:
                raise InputError("holds more bytes than are read of one archive", where=self.file.path, got=f"{total:,}")
            scans.append(dataclasses.replace(scan, path=path, size=counted.size, sha256=counted.sha256))
        passed_over = tuple(sorted(skipped.items()))
        return FileScan(format=ARCHIVE, size=0, sha256="", cuts=(), members=tuple(scans), skipped=passed_over)

    def _part(self, stream: Peekable, path: str) -> FileScan:
        """Spool one stream of text or one table; what it is, its first bytes tell."""
        refuse_unknown_container(stream.head, path)
        nested = compression_of(stream.head) or archive_of(stream.head)
        if nested:
            raise InputError(f"is a {nested} file inside another", where=path, hint="Unpack the outer one and pass its content")
        kind = table_kind(stream.head, self.file.format, path)
        if kind is not None:
            return self._packed_table(stream, kind, path)
        format = detect(stream.head, self.file.format, path, self.settings.encoding) if stream.head else FORMATS["text"]
        codec = RowCodec.of(self.settings.encoding, stream.head)
        scan = self._cut(format, path, utf8_rows(_chunks(stream), codec))
        return dataclasses.replace(scan, byte_order_mark=codec.skip > 0)

    def _table_kind(self, head: bytes) -> str | None:
        return table_kind(head, self.file.format, self.file.path)

    def _plain_table(self, head: bytes, kind: str) -> FileScan:
        if kind in _TEXT_TABLES:
            require_encoding(head, "utf-8", self.file.path, whole=len(head) < HEAD_BYTES)
        scan = self._table(self.file.url, kind, self.file.path)
        return dataclasses.replace(scan, byte_order_mark=kind in _TEXT_TABLES and head.startswith(BOM_UTF8))

    def _packed_table(self, stream: Peekable, kind: str, shown: str) -> FileScan:
        """Spool a table that its reader cannot open where it lies: it needs a file, which goes again."""
        path = self.folder / _TABLE_NAME
        encoding = self.settings.encoding
        if kind in _TEXT_TABLES:
            require_encoding(stream.head, encoding, shown, whole=len(stream.head) < HEAD_BYTES)
        text = kind in _TEXT_TABLES and encoding != "utf-8"
        codec = RowCodec.of(encoding, stream.head)
        with commit_stream(path) as copy:
            for piece in utf8_rows(_chunks(stream), codec) if text else _chunks(stream):
                copy.write(piece)
        scan = self._table(str(path), kind, shown)
        with open(path, "rb") as copied:
            marked = kind in _TEXT_TABLES and (codec.skip > 0 or copied.read(len(BOM_UTF8)) == BOM_UTF8)
        remove_file(path)
        return dataclasses.replace(scan, byte_order_mark=marked)

    def _table(self, url: str, kind: str, shown: str) -> FileScan:
        from pipeline.tables import read_table

        reasons = {INVALID_UTF8: invalid_encoding(self.settings.encoding)}
        records = ((row, text, reasons.get(why, why)) for row, text, why in read_table(url, kind, self.settings.field))
        try:
            return self._cut(FORMATS["rows"], shown, encoded_rows(records))
        except InputError as error:  # name the file that the user knows
            where = str(error.where).replace(url, shown)
            raise type(error)(error.what, where=where, expected=error.expected, got=error.got, hint=error.hint) from None

    def _cut(self, format: Format, path: str, pieces: Iterable[bytes]) -> FileScan:
        self.blocks.begin_file(records=format.name == "rows")
        cutter = Cutter(format, self.unit_bytes, path, self.blocks)
        for piece in pieces:
            cutter.feed(piece)
        cutter.finish()
        cuts, blocks = self.blocks.end_file()
        name = format_name(format, self.file.format, self.settings.field)
        return FileScan(format=name, size=0, sha256="", cuts=cuts, blocks=blocks)


def _chunks(stream: ByteStream) -> Iterator[bytes]:
    size = min(_READ_BYTES, limits.MAX_LINE_BYTES)
    while chunk := stream.read(size):
        yield chunk
