"""Byte streams: counted and hashed, decompressed under caps, told apart by their first bytes and never by their names."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import re
import zlib
from typing import Any, Protocol

from pipeline import limits
from pipeline.errors import InputError

HEAD_BYTES = 1 << 16
_READ_BYTES = 1 << 18
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x07\x08")
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress",
    b"MSCF\0\0\0\0": "cab",
}


class ByteStream(Protocol):
    """What can be read from front to back. `read` returns at most `size` bytes, none of them at the end only."""

    def read(self, size: int, /) -> bytes: ...


def compression_of(head: bytes) -> str | None:
    """Return how a stream is compressed, None when it is not."""
    if _BZIP2.match(head):
        return "bzip2"
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


def archive_of(head: bytes) -> str | None:
    """Return ``zip``, ``tar`` or None. `head` must hold the first 512 bytes."""
    if head.startswith(_ZIP):
        return "zip"
    return "tar" if _is_tar(head[:512]) else None


def refuse_unknown_container(head: bytes, where: object) -> None:
    """Raise InputError for archives and compressions that are not read."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise InputError(
                f"is a {name} file, which is not read",
                where=where,
                expected="gzip, bzip2, xz, zstd, zip or tar",
                hint="Unpack it",
            )


def _is_tar(block: bytes) -> bool:
    """Return whether 512 bytes are the header of a tar member: its checksum holds, old formats have nothing else to tell by."""
    if len(block) < 512 or not block.strip(b"\0"):
        return False
    try:
        recorded = int(block[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return recorded == sum(block) - sum(block[148:156]) + 8 * 32


class SourceStream:
    """A raw stream whose bytes are counted and hashed as they are read."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._hash, self.size = raw, hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._raw.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read what is left, so that size and hash are those of the whole."""
        while self.read(_READ_BYTES):
            pass

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    # What the decompressors of the library ask a file for.
    closed = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Leave the raw stream to whoever opened it."""


class Peekable:
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.head = read_up_to(stream, HEAD_BYTES)
        self._rest = self.head

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            return self._stream.read(size)
        data, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return data

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    closed = False

    def close(self) -> None:
        """Leave the stream to whoever opened it."""


def read_up_to(stream: ByteStream, size: int) -> bytes:
    """Return the next `size` bytes, fewer only where the stream ends."""
    parts: list[bytes] = []
    while size and (data := stream.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


class Decompressed:
    """The decompressed bytes of a stream. Raises InputError for one that is damaged, cut off, or grows beyond the caps."""

    def __init__(self, stream: Any, kind: str, source: SourceStream, where: object) -> None:
        self._kind, self._source, self._where = kind, source, where
        self._cap = ExpansionCap(where)
        self._reader = _open(stream, kind)

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        except EOFError:
            raise InputError(
                f"is cut off: its {self._kind} stream does not end", where=self._where, got=f"{self._source.size:,} bytes"
            ) from None
        except (OSError, zlib.error, lzma.LZMAError, ValueError) as error:
            cut_off = "runcated" in str(error)
            what = "is cut off: its {} stream does not end" if cut_off else "is damaged: not readable as {}"
            detail = "" if cut_off else f" ({' '.join(str(error).split())[:200]})"
            got = f"{self._source.size:,} bytes"
            raise InputError(what.format(self._kind) + detail, where=self._where, got=got) from None
        self._cap.add(len(data), self._source.size)
        return data


class ExpansionCap:
    """Counts what comes out against what went in. Raises InputError above `MAX_RATIO` and `MAX_DECOMPRESSED_BYTES`."""

    def __init__(self, where: object) -> None:
        self._where, self.size = where, 0

    def add(self, size: int, compressed_bytes: int) -> None:
        """Count `size` more bytes; `compressed_bytes` in all were read to get what there is."""
        self.size += size
        self.check(self.size, compressed_bytes)

    def check(self, size: int, compressed_bytes: int) -> None:
        if size > limits.RATIO_FLOOR_BYTES and size > limits.MAX_RATIO * compressed_bytes:
            raise InputError(
                f"decompresses to more than {limits.MAX_RATIO} times its size", where=self._where,
                got=f"{size:,} bytes out of {compressed_bytes:,}", hint="If that is right, decompress it and pass the result",
            )  # fmt: skip
        if size > limits.MAX_DECOMPRESSED_BYTES:
            raise InputError(
                "decompresses to more than is read of one file", where=self._where,
                expected=f"at most {limits.MAX_DECOMPRESSED_BYTES:,} bytes", hint="Decompress it and pass the result",
            )  # fmt: skip


def _open(stream: Any, kind: str) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if kind == "bzip2":
        return bz2.BZ2File(stream)
    if kind == "xz":
        return _XzReader(stream)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


class _XzReader:
    """The streams of an xz file one after the other. `lzma.open` has no limit of memory, which a hostile header needs."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._decompressor = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=limits.MAX_XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b"\0")  # streams may be padded with zeros
                while not rest:
                    if not (data := self._stream.read(_READ_BYTES)):
                        return b""
                    rest = data.lstrip(b"\0")
                self._decompressor = self._new()
                found = self._decompressor.decompress(rest, size)
            else:
                data = self._stream.read(_READ_BYTES) if self._decompressor.needs_input else b""
                if not data and self._decompressor.needs_input:
                    raise EOFError
                found = self._decompressor.decompress(data, size)
            if found:
                return found
