"""The members of a zip file. Encryption, overlaps, wrong sizes and lists too long to be held are errors that name the member."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from pipeline import limits
from pipeline.archives import Member, MemberNames
from pipeline.compressed import ExpansionCap
from pipeline.errors import InputError

_END, _ZIP64_LOCATOR, _ZIP64_END = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def zip_members(file: Any, size: int, where: str, skipped: Counter[str]) -> Iterator[Member]:
    """Yield the regular members of a zip file of `size` bytes, which must be seekable."""
    _check_directory(file, size, where)
    names = MemberNames(where, skipped)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_sizes(infos, size, where)
            taken = []
            for info in infos:
                names.count()
                kind = _zip_kind(info)
                if kind is not None:
                    skipped[kind] += 1
                elif names.takes(info.filename):
                    _check_member(info, where)
                    taken.append(info)
            for info in taken:
                inside = f"{where}!/{info.filename}"
                try:
                    opened = archive.open(info)
                except (zipfile.BadZipFile, RuntimeError, OSError, ValueError, struct.error) as error:
                    raise InputError(f"is damaged: {error}", where=inside) from None
                with opened:
                    yield Member(name=info.filename, stream=_ZipMember(opened, info, inside))
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise InputError(f"is damaged: not readable as zip ({error})", where=where) from None


def _zip_kind(info: zipfile.ZipInfo) -> str | None:
    mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    if info.is_dir() or mode == stat.S_IFDIR:
        return "folder"
    if mode == stat.S_IFLNK:
        return "link"
    return None if mode in (0, stat.S_IFREG) else "device"


def _check_directory(file: Any, size: int, where: str) -> None:
    """Refuse a list of members that is too long before zipfile holds it in memory."""

    def damaged(why: str) -> NoReturn:
        raise InputError(f"is damaged or cut off: not readable as zip ({why})", where=where, got=f"{size:,} bytes")

    tail_bytes = min(size, _END.size + (1 << 16) + _ZIP64_LOCATOR.size + _ZIP64_END.size)
    file.seek(size - tail_bytes)
    tail: bytes = file.read(tail_bytes)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        damaged("it has no list of members")
    directory_bytes, directory_end = _END.unpack_from(tail, at)[5], size - tail_bytes + at
    if (locator := at - _ZIP64_LOCATOR.size) >= _ZIP64_END.size and tail[locator : locator + 4] == b"PK\x06\x07":
        directory_bytes = _ZIP64_END.unpack_from(tail, locator - _ZIP64_END.size)[8]
        directory_end -= _ZIP64_LOCATOR.size + _ZIP64_END.size
    if directory_bytes > directory_end:
        damaged("its list of members is longer than the file")
    cap = limits.MAX_ZIP_DIRECTORY_BYTES
    if directory_bytes > cap:
        raise InputError(
            "has a longer list of members than is read",
            where=where,
            got=f"{directory_bytes:,} bytes",
            expected=f"at most {cap:,}",
        )
    file.seek(directory_end - directory_bytes)
    directory: bytes = file.read(directory_bytes)
    position = count = 0
    while position + _ENTRY.size <= len(directory) and directory[position : position + 4] == b"PK\x01\x02":
        lengths = struct.unpack_from("<3H", directory, position + 28)
        position += _ENTRY.size + sum(lengths)
        count += 1
        if count > limits.MAX_MEMBERS:
            raise InputError(
                "has more members than are read of one archive", where=where, expected=f"at most {limits.MAX_MEMBERS:,}"
            )
    file.seek(0)


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, where: str) -> None:
    """Refuse members that share bytes of the archive, and sums that no honest archive has."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [size]
    for info, end in zip(ordered, ends, strict=True):
        if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > end:
            raise InputError(f"member {info.filename[:80]!a} overlaps what follows it", where=where)
    ExpansionCap(where).check(sum(info.file_size for info in infos), size)


def _check_member(info: zipfile.ZipInfo, where: str) -> None:
    inside = f"{where}!/{info.filename}"
    if info.flag_bits & 0x1:
        raise InputError("is encrypted", where=inside, hint="Decrypt the archive and pass the result")
    if info.compress_type not in _METHODS:
        raise InputError(f"is compressed in a way that is not read (method {info.compress_type})", where=inside)
    ExpansionCap(inside).check(info.file_size, info.compress_size)


class _ZipMember:
    """Holds a member to its declared size; zipfile checks its CRC."""

    def __init__(self, opened: Any, info: zipfile.ZipInfo, where: str) -> None:
        self._opened, self._info, self._where = opened, info, where
        self._cap = ExpansionCap(where)

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._opened.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise InputError(f"is damaged: {error}", where=self._where) from None
        self._cap.add(len(data), self._info.compress_size)
        if not data and self._cap.size != self._info.file_size:
            raise InputError(
                "has another size than declared", where=self._where, expected=f"{self._info.file_size:,} bytes",
                got=f"{self._cap.size:,}",
            )  # fmt: skip
        return data
