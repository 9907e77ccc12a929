"""A poison row: a document on which a stage raises something that is no error of ours.

Errors of the project's own tree say what to do about them, and lack of memory or a disk that refuses is not the document's
fault: those pass. Anything else is a mistake in a stage that one document brings to light. It is named with stage and
``file:row`` and never tried again; with ``--on-error quarantine`` the document is set aside, counted and listed, and the rest
goes on. What happens depends on the document alone, so that a rebuild gives the same bytes.

How a unit uses it: ``guard.reader(documents, first_row)`` around the reader, ``run_stages(…, guard.stages(stages), …)``,
``guard.batch("encode", documents, function, ledger)`` for steps on many documents, ``guard.whole("lay_out", row)`` for steps in
which documents can no longer be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pipeline.documents import Document, Drop, Ledger
from pipeline.errors import StageError
from pipeline.stage import Edited, StageOfMany
from shards.errors import UsageError, WordloomError

ON_ERROR = ("stop", "quarantine")
QUARANTINED = "quarantined"
MAX_LISTED = 1000
_MAX_TEXT = 300
_PASS = (WordloomError, MemoryError, OSError)

Result = TypeVar("Result")
StageCall = Callable[[Document], "Document | Edited | Drop"]


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A document that was set aside: 1-based row of its first line, the stage, and what it raised."""

    row: int
    stage: str
    error: str


class GuardedStage:
    """A stage whose errors a guard answers."""

    def __init__(self, stage: Any, guard: Guard) -> None:
        self._stage, self._guard = stage, guard
        self._name = str(stage.description["name"])

    @property
    def description(self) -> dict[str, Any]:
        found: dict[str, Any] = self._stage.description
        return found

    def __call__(self, document: Document) -> Document | Edited | Drop:
        return self._guard.document(self._name, document, self._stage)


class GuardedStageOfMany(GuardedStage):
    """The same of a stage that takes many documents at once."""

    def of_many(self, documents: Sequence[Document]) -> Sequence[Document | Edited | Drop]:
        """Return the stage's results; should it fail, those of each document alone."""
        try:
            found: Sequence[Document | Edited | Drop] = self._stage.of_many(documents)
        except _PASS:
            raise
        except Exception:  # which of them it was comes out when each is tried alone
            return [self(document) for document in documents]
        return found


class Guard:
    """Watches over one unit, in the build and in every pass before it.

    `path` is the input file as messages name it; `count` tells how many documents were set aside, `quarantined` lists the first
    1,000.
    """

    def __init__(self, path: str, on_error: str) -> None:
        if on_error not in ON_ERROR:
            raise UsageError("unknown answer to errors", expected=" or ".join(ON_ERROR), got=on_error)
        self.path, self._quarantines, self.count = path, on_error == "quarantine", 0
        self.quarantined: list[Quarantined] = []

    def report(self) -> list[dict[str, Any]]:
        """Return what was set aside, for the unit's report."""
        return [asdict(entry) for entry in self.quarantined]

    def reader(self, documents: Iterable[Document], first_row: int = 1) -> Iterator[Document]:
        """Yield from a reader that begins at `first_row`.

        Raises StageError when it fails: after that it cannot go on, so nothing is set aside.
        """
        last = first_row - 1
        iterator = iter(documents)
        while True:
            try:
                document = next(iterator)
            except StopIteration:
                return
            except _PASS:
                raise
            except Exception as error:
                raise self._error("reader", f"{self.path}, after row {last}", error) from error
            last = document.rows[-1]
            yield document

    def stages(self, stages: Sequence[Any]) -> tuple[GuardedStage, ...]:
        """Return the stages, guarded."""
        return tuple((GuardedStageOfMany if isinstance(s, StageOfMany) else GuardedStage)(s, self) for s in stages)

    def document(self, stage: str, document: Document, function: StageCall) -> Document | Edited | Drop:
        """Run one step on one document. Raises StageError, or returns a drop as ``quarantined``."""
        try:
            return function(document)
        except _PASS:
            raise
        except Exception as error:
            self._set_aside(stage, document, error)
            return Drop(reason=QUARANTINED)

    def batch(
        self, stage: str, documents: list[Document], function: Callable[[list[Document]], Result], ledger: Ledger
    ) -> tuple[list[Document], Result] | None:
        """Run one step on many kept documents at once; return those that it took, and its result; None when it took none.

        When it fails, each document is tried alone: those that fail are retracted from the ledger as ``quarantined``, or the
        first of them is named by a StageError. `function` must not write to the ledger: it can be called more than once.
        """
        try:
            return documents, function(documents)
        except _PASS:
            raise
        except Exception as error:
            sound = [document for document in documents if self._alone(stage, document, function, ledger)]
            if len(sound) == len(documents):  # only together do they fail: nobody can be set aside
                rows = f"{self.path}:{documents[0].rows[0]} to row {documents[-1].rows[-1]}"
                raise self._error(stage, rows, error) from error
        return self.batch(stage, sound, function, ledger) if sound else None

    def _alone(
        self, stage: str, document: Document, function: Callable[[list[Document]], object], ledger: Ledger
    ) -> bool:  # fmt: skip
        try:
            function([document])
        except _PASS:
            raise
        except Exception as error:
            self._set_aside(stage, document, error)
            ledger.retract(document, QUARANTINED)
            return False
        return True

    @contextmanager
    def whole(self, stage: str, row: int) -> Iterator[None]:
        """Run a step on a whole unit, whose first row is `row`. Raises StageError: no document can be told apart here."""
        try:
            yield
        except _PASS:
            raise
        except Exception as error:
            raise self._error(stage, f"the unit that begins at {self.path}:{row}", error) from error

    def _set_aside(self, stage: str, document: Document, error: Exception) -> None:
        if not self._quarantines:
            hint = "Take the row out, or go on without the document: --on-error quarantine"
            raise self._error(stage, f"{self.path}:{document.rows[0]}", error, hint) from error
        self.count += 1
        if len(self.quarantined) < MAX_LISTED:
            self.quarantined.append(Quarantined(row=document.rows[0], stage=stage, error=describe(error)))

    def _error(self, stage: str, where: str, error: Exception, hint: str | None = None) -> StageError:
        return StageError(f"stage {stage} failed on {where}", got=describe(error), hint=hint)


def describe(error: Exception) -> str:
    """Return an error as one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_TEXT]
