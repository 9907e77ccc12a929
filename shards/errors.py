"""What can go wrong, as one tree; each class owns the exit code of the command that meets it.

    WordloomError            1   anything that a message can explain
    ├── UsageError           2   an option or a name that makes no sense
    ├── FormatError          3   a file that does not follow its format
    │   └── IntegrityError   4   bytes that differ from what was recorded of them
    ├── NotFoundError        5   an input that is not there
    ├── ExistsError          6   an output that is there already
    ├── LockedError          7   an output that another process is writing
    ├── MismatchError        8   two artefacts that do not belong together
    └── StorageError         9   the disk refused

`pipeline.errors` takes the codes from 10, `pretrain.errors` from 20, `finetune.errors` from 30.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WordloomError(Exception):
    """An error a user can act on: what, where, expected and got, what to do."""

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.got, self.hint = what, where, expected, got, hint
        text = what if where is None else f"{where}: {what}"
        facts = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
        text += f" ({', '.join(facts)})" if facts else ""
        super().__init__(text if hint is None else f"{text}. {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every field when the error crosses a process boundary."""
        return _restore, (type(self), self.what, self.where, self.expected, self.got, self.hint)


def _restore(
    kind: type[WordloomError], what: str, where: object, expected: object, got: object, hint: str | None
) -> WordloomError:
    return kind(what, where=where, expected=expected, got=got, hint=hint)


class UsageError(WordloomError):
    exit_code = 2


class FormatError(WordloomError):
    exit_code = 3


class IntegrityError(FormatError):
    exit_code = 4


class NotFoundError(WordloomError):
    exit_code = 5


class ExistsError(WordloomError):
    exit_code = 6


class LockedError(WordloomError):
    exit_code = 7


class MismatchError(WordloomError):
    exit_code = 8


class StorageError(WordloomError):
    exit_code = 9


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that no registry holds, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(got.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    close = next((n for n in names if near and n.lower() == near[0]), None)
    hint = (f"Did you mean {close!r}? " if close else "") + f"Known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {got!r}", hint=hint)
