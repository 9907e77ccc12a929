"""A row on which the cleaning stage fails, and the failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.documents import Document
from pipeline.stages import Clean

POISON = "毒药在这里。"


def add_poison(text: Path) -> None:
    """Append two poisonous documents to a file of text, the first of two lines."""
    with open(text, "a", encoding="utf-8") as file:
        file.write(f"\n\n{POISON}\n第二行。\n\n最后一篇。很好。\n\n{POISON}\n")


def rows_of_poison(text: Path) -> list[int]:
    return [number for number, line in enumerate(text.read_text(encoding="utf-8").split("\n"), 1) if line == POISON]


def break_cleaning(patch: pytest.MonkeyPatch) -> None:
    """Break the stage for one document and for many at once: `run_stages` calls the latter, the guard falls back to the former."""
    alone, of_many = Clean.__call__, Clean.of_many

    def fragile(self: Clean, document: Document) -> Any:
        return alone(self, document) if POISON not in document.text else 1 // 0

    def fragile_of_many(self: Clean, documents: Sequence[Document]) -> Any:
        return of_many(self, documents) if not any(POISON in document.text for document in documents) else 1 // 0

    patch.setattr(Clean, "__call__", fragile)
    patch.setattr(Clean, "of_many", fragile_of_many)


def with_broken_cleaning(make: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Make a task's function that finds the stage broken, in whatever process it is called."""
    return partial(_call, make())


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        break_cleaning(patch)
        return function(task)
