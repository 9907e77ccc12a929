"""The cleaning stage: rules on characters, on wiki markup and on whole lines, over a document at once.

Most lines need nothing; `pipeline.look_ahead` tells which may, and only those are looked at one by one. Which rules changed a row
is told with the result, and counted by the ledger.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, groupby
from typing import Any

from pipeline.boilerplate import BOILERPLATE_LINES, BOILERPLATE_RULE
from pipeline.clean import CLEAN_RULES, REQUIRED_RULES, TOUCHED, make_changing_rules, make_clean_text
from pipeline.clean_markup import MARKUP_BEGINNINGS, MARKUP_CHARACTERS, MARKUP_RULE, remove_markup
from pipeline.documents import Document, Drop
from pipeline.look_ahead import LookAhead
from pipeline.stage import Edited, keep_lines
from shards.errors import UsageError, unknown_name

_ALONE_CHARACTERS = 1 << 20
RULES: tuple[str, ...] = (*CLEAN_RULES, MARKUP_RULE, BOILERPLATE_RULE)


@dataclass(frozen=True)
class Clean:
    """Clean every line; lines of which nothing is left go, as ``empty``, ``markup`` or ``boilerplate``.

    rules: those of `RULES` to apply, in that order. Idempotent.
    """

    rules: tuple[str, ...] = RULES

    @property
    def description(self) -> dict[str, Any]:
        return {"name": "clean", "rules": list(self.rules)}

    def __call__(self, document: Document) -> Document | Edited | Drop:
        return self._clean(document, self._look_ahead.lines(document.text))

    def of_many(self, documents: Sequence[Document]) -> list[Document | Edited | Drop]:
        """See `pipeline.stage.StageOfMany`: one look ahead serves all."""
        if len(documents) == 1 or len(documents[-1].text) > _ALONE_CHARACTERS:  # a copy of one that long would be dear
            return [self(document) for document in documents]
        numbers = self._look_ahead.lines("\n".join([document.text for document in documents]))
        results: list[Document | Edited | Drop] = list(documents)
        begins = [0, *accumulate(len(document.rows) for document in documents)]
        for i, found in groupby(numbers, lambda number: bisect_right(begins, number) - 1):
            results[i] = self._clean(documents[i], [number - begins[i] for number in found])
        return results

    def _clean(self, document: Document, numbers: Sequence[int]) -> Document | Edited | Drop:
        if not numbers:
            return document
        lines = document.text.split("\n")
        lost: list[tuple[int, str]] = []
        changed: dict[str, list[int]] = {}
        for number in numbers:
            line, reason, rules = self._clean_line(lines[number])
            row = document.rows[number]
            if not line:
                lost.append((row, reason))
            for rule in rules:
                rows = changed.setdefault(rule, [])
                if not rows or rows[-1] != row:  # several lines of a row are one row
                    rows.append(row)
            lines[number] = line
        return keep_lines(document, lines, lost, changed) if changed else document

    def _clean_line(self, line: str) -> tuple[str, str, list[str]]:
        """Return a line after all rules, the reason why it is empty if it is, and the rules that changed it."""
        text = self._clean_text(line)
        rules = self._changing_rules(line) if text != line else []
        if not text:
            return "", "empty", rules
        if self._markup:
            bare = remove_markup(text, self._clean_text)
            if bare != text:
                rules.append(MARKUP_RULE)
            if not bare:
                return "", "markup", rules
            text = bare
        return ("", "boilerplate", [*rules, BOILERPLATE_RULE]) if text in self._boilerplate else (text, "", rules)

    @cached_property
    def _markup(self) -> bool:
        return MARKUP_RULE in self.rules

    @cached_property
    def _boilerplate(self) -> frozenset[str]:
        return BOILERPLATE_LINES if BOILERPLATE_RULE in self.rules else frozenset()

    @cached_property
    def _look_ahead(self) -> LookAhead:
        return _look_ahead(self._markup, self._boilerplate)

    @cached_property
    def _changing_rules(self) -> Callable[[str], list[str]]:
        return make_changing_rules(self.rules)

    @cached_property
    def _clean_text(self) -> Callable[[str], str]:
        return make_clean_text(self.rules)

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process boundaries without what is cached."""
        return Clean, (self.rules,)


@cache
def _look_ahead(markup: bool, boilerplate: frozenset[str]) -> LookAhead:
    touched = re.compile(f"[{TOUCHED}{MARKUP_CHARACTERS if markup else ''}]")
    return LookAhead(touched, MARKUP_BEGINNINGS if markup else "", ("  ", "''") if markup else ("  ",), boilerplate)


def make_clean(rules: Sequence[str]) -> Clean:
    """Return the stage that applies the named rules, and those that every text needs.

    A name may leave out its version; ``all`` and ``none`` stand for every rule and for the required ones alone. Raises UsageError
    for a rule, or a version of one, that is not known.
    """
    by_name = {rule.partition("@")[0]: rule for rule in RULES}
    wanted = set(REQUIRED_RULES)
    for rule in rules:
        name, _, version = rule.partition("@")
        if name in ("all", "none") and not version:
            if len(rules) > 1:
                raise UsageError(f"{name!r} stands alone among cleaning rules", got=" ".join(rules))
            wanted |= set(RULES) if name == "all" else set()
        elif name not in by_name:
            raise unknown_name("cleaning rule", rule, by_name)
        elif version and rule != by_name[name]:
            raise UsageError("this version applies another cleaning rule", expected=by_name[name], got=rule)
        else:
            wanted.add(by_name[name])
    return Clean(tuple(rule for rule in RULES if rule in wanted))
