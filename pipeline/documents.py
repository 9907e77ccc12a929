"""What flows between reader and stages: documents of lines, drops with a reason, and the ledger that accounts for both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_REJECTS_PER_REASON = 20
# What readers take off the beginning of a file counts as the rule of this name.
BYTE_ORDER_MARK = "byte_order_mark"


@dataclass(frozen=True, kw_only=True)
class Document:
    """Lines of text that belong together, in order, and the 1-based row of the input file each came from.

    text: the lines, none of them empty, parted by single ``\\n``; rows: one row number a line, ascending (a `range` or a tuple).
    """

    text: str
    rows: Sequence[int]

    @classmethod
    def of(cls, lines: Sequence[str], rows: Sequence[int]) -> Document:
        return cls(text="\n".join(lines), rows=rows)

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.text.split("\n"))

    @property
    def distinct_rows(self) -> int:
        return len(self.rows) if isinstance(self.rows, range) else len(set(self.rows))


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Why something is left out; one word with underscores, as manifests count it."""

    reason: str


@dataclass(kw_only=True)
class Ledger:
    """What was read, kept and dropped in one unit: documents, and rows of the input; ``read = kept + Σ dropped`` for both.

    rows_changed: rule → rows that it changed, whatever became of them afterwards; rejects, changes: the first rows by reason
    and by rule.
    """

    documents_read: int = 0
    documents_kept: int = 0
    documents_dropped: Counter[str] = field(default_factory=Counter)
    rows_read: int = 0
    rows_kept: int = 0
    rows_dropped: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, list[int]] = field(default_factory=dict)
    rows_changed: Counter[str] = field(default_factory=Counter)
    changes: dict[str, list[int]] = field(default_factory=dict)

    def drop_row(self, row: int, reason: str) -> None:
        """Account for a row that is read and left out."""
        self.rows_read += 1
        self._reject(row, reason)

    def drop_rows(self, rows: set[int], reason: str) -> None:
        """Account for several rows left out for one reason."""
        for row in sorted(rows):
            self.drop_row(row, reason)

    def drop_document(self, reason: str) -> None:
        """Account for a document that is read and left out; its rows are accounted for apart."""
        self.documents_read += 1
        self.documents_dropped[reason] += 1

    def keep(self, rows: int) -> None:
        """Account for a document that becomes samples, and for its rows."""
        self.documents_read += 1
        self.documents_kept += 1
        self.rows_read += rows
        self.rows_kept += rows

    def retract(self, document: Document, reason: str) -> None:
        """Account for a kept document as dropped after all: nothing of it was left to tokenize."""
        self.documents_kept -= 1
        self.documents_dropped[reason] += 1
        for row in sorted(set(document.rows)):
            self.rows_kept -= 1
            self._reject(row, reason)

    def change_rows(self, rule: str, rows: Sequence[int]) -> None:
        """Account for rows that a rule changed; whether they are kept is accounted for apart."""
        self.rows_changed[rule] += len(rows)
        sample = self.changes.setdefault(rule, [])
        if len(sample) < MAX_REJECTS_PER_REASON:
            sample += rows[: MAX_REJECTS_PER_REASON - len(sample)]

    def _reject(self, row: int, reason: str) -> None:
        self.rows_dropped[reason] += 1
        sample = self.rejects.setdefault(reason, [])
        if len(sample) < MAX_REJECTS_PER_REASON:
            sample.append(row)
