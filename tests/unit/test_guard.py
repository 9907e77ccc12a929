"""A poison row is named with its stage, or set aside, counted and listed; never anything else, and never twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.documents import Document, Drop, Ledger
from pipeline.errors import InputError, StageError
from pipeline.guard import Guard
from pipeline.stages import run_stages
from shards.errors import UsageError

POISON = 4711


@dataclass
class Fragile:
    """A stage that raises on one document, whenever it gets it."""

    calls: list[int] = field(default_factory=list)

    @property
    def description(self) -> dict[str, Any]:
        return {"name": "fragile"}

    def __call__(self, document: Document) -> Document | Drop:
        self.calls.append(document.rows[0])
        if document.rows[0] == POISON:
            raise ValueError("no such\n  luck")
        return document


class FragileOfMany(Fragile):
    """The same that takes many at once."""

    def of_many(self, documents: Sequence[Document]) -> list[Document | Drop]:
        return [self(document) for document in documents]


def documents(count: int = 6000) -> Iterator[Document]:
    return (Document.of([f"row {row}"], range(row, row + 1)) for row in range(1, count + 1))


@pytest.mark.parametrize("mode", ["stop", "quarantine"])
def test_a_poison_row_among_many_is_told_from_the_rest(mode: str) -> None:
    guard, ledger = Guard("a.txt", mode), Ledger()
    if mode == "stop":
        with pytest.raises(StageError, match=r"stage fragile failed on a\.txt:4711"):
            list(run_stages(documents(), guard.stages([FragileOfMany()]), ledger))
        return
    kept = list(run_stages(documents(), guard.stages([FragileOfMany()]), ledger))
    assert [d.rows[0] for d in kept] == [row for row in range(1, 6001) if row != POISON]
    assert ledger.rejects == {"quarantined": [POISON]} and guard.report()[0]["row"] == POISON


def test_a_poison_row_is_named_with_its_stage_and_not_tried_again() -> None:
    guard, ledger, stage = Guard("sub/a.txt", "stop"), Ledger(), Fragile()
    with pytest.raises(StageError) as caught:
        list(run_stages(guard.reader(documents()), guard.stages([stage]), ledger))
    message = str(caught.value)
    assert "stage fragile failed on sub/a.txt:4711" in message and "ValueError: no such luck" in message
    assert "--on-error quarantine" in message and caught.value.exit_code == 18
    assert stage.calls.count(POISON) == 1


def test_in_quarantine_it_is_counted_and_the_rest_goes_on() -> None:
    guard, ledger = Guard("a.txt", "quarantine"), Ledger()
    kept = list(run_stages(guard.reader(documents()), guard.stages([Fragile()]), ledger))
    assert len(kept) == 5999 and POISON not in {d.rows[0] for d in kept}
    assert ledger.documents_read == 6000 == ledger.documents_kept + sum(ledger.documents_dropped.values())
    assert ledger.documents_dropped == {"quarantined": 1} and ledger.rejects == {"quarantined": [POISON]}
    assert guard.report() == [{"row": POISON, "stage": "fragile", "error": "ValueError: no such luck"}]


def lengths(batch: list[Document]) -> list[int]:
    if any("bad" in d.text for d in batch):
        raise KeyError("bad")
    return [len(d.text) for d in batch]


def kept_batch(ledger: Ledger) -> list[Document]:
    batch = [Document.of(["bad" if row in (3, 5) else "fine", "more"], (row, row)) for row in range(1, 8)]
    for document in batch:
        ledger.keep(document.distinct_rows)
    return batch


def test_the_culprits_of_a_batch_are_found() -> None:
    ledger = Ledger()
    guard = Guard("a.txt", "quarantine")
    done = guard.batch("encode", kept_batch(ledger), lengths, ledger)
    assert done is not None
    sound, result = done
    assert [d.rows[0] for d in sound] == [1, 2, 4, 6, 7] and len(result) == 5
    assert (ledger.documents_kept, ledger.documents_dropped["quarantined"], ledger.rows_kept) == (5, 2, 5)
    assert [q.row for q in guard.quarantined] == [3, 5]
    with pytest.raises(StageError, match=r"stage encode failed on a\.txt:3 "):
        Guard("a.txt", "stop").batch("encode", kept_batch(Ledger()), lengths, Ledger())


def test_a_batch_of_nothing_but_poison_has_no_result() -> None:
    ledger = Ledger()
    batch = [document for document in kept_batch(ledger) if "bad" in document.text]
    assert Guard("a.txt", "quarantine").batch("encode", batch, lengths, ledger) is None
    assert ledger.documents_dropped["quarantined"] == 2


def test_a_batch_that_fails_only_as_a_whole_is_named_as_one() -> None:
    def refuses_many(batch: list[Document]) -> int:
        if len(batch) > 1:
            raise RuntimeError("too many")
        return 1

    with pytest.raises(StageError, match=r"stage encode failed on a\.txt:1 to row 7"):
        Guard("a.txt", "quarantine").batch("encode", kept_batch(Ledger()), refuses_many, Ledger())


@pytest.mark.parametrize(
    "error", [InputError("wrong", where="a.txt:1"), OSError(5, "no disk"), MemoryError(), KeyboardInterrupt()]
)
def test_what_is_not_the_documents_fault_passes(error: BaseException) -> None:
    def fails(_: object) -> Any:
        raise error

    guard, document = Guard("a.txt", "quarantine"), next(documents())
    for call in (
        lambda: guard.document("clean", document, fails),
        lambda: guard.batch("encode", [document], fails, Ledger()),
        lambda: list(guard.reader(map(fails, [document]))),
    ):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error


def test_a_reader_or_a_layout_that_fails_stops_in_either_mode() -> None:
    def broken() -> Iterator[Document]:
        yield next(documents())
        raise ZeroDivisionError("oh")

    for mode in ("stop", "quarantine"):
        guard = Guard("a.txt", mode)
        with pytest.raises(StageError, match=r"stage reader failed on a\.txt, after row 1 "):
            list(guard.reader(broken()))
        with pytest.raises(StageError, match=r"stage reader failed on a\.txt, after row 499 "):
            list(guard.reader((1 // 0 for _ in "a"), 500))  # type: ignore[misc]
        with (
            pytest.raises(StageError, match=r"stage lay_out failed on the unit that begins at a\.txt:9"),
            guard.whole("lay_out", 9),
        ):
            raise ValueError("no")
    with pytest.raises(UsageError, match="got ignore"):
        Guard("a.txt", "ignore")
