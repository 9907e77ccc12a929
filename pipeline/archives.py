"""What the members of an archive have in common. Nothing is ever extracted: members are one open stream after the other.

A member is a regular file. Folders, links, devices and hidden files are passed over and counted; names that could lead out of
a folder are errors that say which.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipeline import limits
from pipeline.compressed import ByteStream
from pipeline.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file of an archive. `stream` must be read to its end before the next member is asked for."""

    name: str
    stream: ByteStream


class MemberNames:
    """Checks names and counts members. Raises InputError, naming the member."""

    def __init__(self, where: str, skipped: Counter[str]) -> None:
        self._where, self._skipped, self._seen, self._count = where, skipped, set[str](), 0

    def count(self) -> None:
        self._count += 1
        if self._count > limits.MAX_MEMBERS:
            raise InputError(
                "has more members than are read of one archive", where=self._where, expected=f"at most {limits.MAX_MEMBERS:,}"
            )

    def takes(self, name: str) -> bool:
        """Return whether a regular member is read: hidden ones are not."""
        parts = name.replace("\\", "/").split("/")
        problem = (
            "is longer than names may be" if len(name) > limits.MAX_NAME_CHARACTERS
            else "leads out of the archive" if ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":"
            else "holds characters that no name should" if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in name)
            else "is empty" if not name.strip("./")
            else None
        )  # fmt: skip
        shown = ascii(name if len(name) <= 80 else name[:77] + "…")
        if problem:
            raise InputError(f"the name of member {shown} {problem}", where=self._where, hint="Nothing of it was read")
        if any(part.startswith(".") and part != "." for part in parts) or "__MACOSX" in parts:
            self._skipped["hidden"] += 1
            return False
        if name in self._seen:
            raise InputError(f"holds two members of the name {shown}", where=self._where)
        self._seen.add(name)
        return True
