"""The members of a tar stream, read from front to back. A missing end, a broken header and bytes behind the end are errors."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline import limits
from pipeline.archives import Member, MemberNames
from pipeline.errors import InputError

_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_READ_BYTES = 1 << 20


def tar_members(stream: Any, where: str, skipped: Counter[str]) -> Iterator[Member]:
    """Yield the regular members of an uncompressed tar stream; what is passed over is counted in `skipped`."""
    names = MemberNames(where, skipped)
    header = _header_class(where)
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=header) as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # they would pile up
                names.count()
                kind = _kind(info)
                if kind is not None:
                    skipped[kind] += 1
                elif names.takes(name := _printable(info.name)):
                    opened = tar.extractfile(info)
                    assert opened is not None
                    yield Member(name=name, stream=_TarMember(opened, f"{where}!/{name}", info.size))
            if not header.ended:
                raise tarfile.ReadError("its end mark is missing")
            while rest := stream.read(_READ_BYTES):
                if rest.strip(b"\0"):
                    raise InputError("holds bytes after its end", where=where, hint="Are these several archives in one file?")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"is damaged or cut off: not readable as tar ({error})", where=where) from None


def _printable(name: str) -> str:
    """Return a name with the bytes that are no UTF-8 spelled out: manifests hold text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Header(tarfile.TarInfo):
    """A header that notes whether the end mark was seen; see `_header_class`."""

    ended = False


def _header_class(where: str) -> type[_Header]:
    """Return a class of headers for one archive: it refuses what tarfile would hold in memory or follow backwards."""

    class Header(_Header):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            try:
                info = super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError:
                Header.ended = len(buf) == tarfile.BLOCKSIZE and not bytes(buf).strip(b"\0")
                raise
            if info.size < 0:
                raise InputError(f"member {info.name[:80]!a} has a negative size", where=where)
            if info.type in _LONG_HEADERS and info.size > limits.MAX_TAR_HEADER_BYTES:
                raise InputError(
                    "describes a member with more bytes than are read", where=where, got=f"{info.size:,}",
                    expected=f"at most {limits.MAX_TAR_HEADER_BYTES:,}",
                )  # fmt: skip
            return info

    return Header


def _kind(info: tarfile.TarInfo) -> str | None:
    """Return what a member is that is no regular file."""
    if info.isdir():
        return "folder"
    if info.issym() or info.islnk():
        return "link"
    if info.issparse():
        return "sparse"
    return None if info.isreg() else "device"


class _TarMember:
    def __init__(self, opened: Any, where: str, size: int) -> None:
        self._opened, self._where, self._left = opened, where, size

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._opened.read(size)
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"is cut off ({error})", where=self._where) from None
        self._left -= len(data)
        if not data and self._left:
            raise InputError("is cut off", where=self._where, got=f"{self._left:,} bytes less than declared")
        return data
