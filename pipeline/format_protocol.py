"""What an input format is: how a file is cut at document borders, and how the bytes between two cuts become documents.

A format has a `border`, a pattern of bytes after whose match a new document begins, and `documents`, which reads a run of
whole documents. Rows are lines of the file, split at ``\\n`` and nothing else, counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from pipeline.documents import Document, Ledger


class Format(Protocol):
    """An input format; see the module docstring."""

    @property
    def name(self) -> str: ...

    @property
    def border(self) -> re.Pattern[bytes]: ...

    @property
    def splits_anywhere(self) -> bool:
        """Whether a document too large for memory may be cut at any row, or has to be refused."""
        ...

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        """Yield the documents of `data`, whose first line is row `first_row`; account for dropped rows in `ledger`."""
        ...
