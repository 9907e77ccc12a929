"""The stages of a recipe: which there are, how they are rebuilt from a recipe, and how documents go through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.clean_stage import Clean, make_clean
from pipeline.decontaminate import Decontaminate, prepare_decontamination
from pipeline.documents import Document, Drop, Ledger
from pipeline.filter_settings import parse_filters, stages_for
from pipeline.filters import FILTER_STAGES, make_filter
from pipeline.simplify import Simplify, make_simplify
from pipeline.stage import Edited, Stage, StageOfMany
from pipeline.text_block import batches
from shards.errors import unknown_name

_MANY_CHARACTERS = 1 << 16

Result = Document | Edited | Drop


def default_stages() -> tuple[Stage, ...]:
    """Return what every text goes through unless asked otherwise."""
    return (Clean(),)


def chosen_stages(
    *,
    clean: Sequence[str],
    simplify: bool,
    filters: Sequence[str],
    decontaminate: Sequence[str],
    lang: str | None,
    work_folder: Path,
) -> tuple[Stage, ...]:
    """Return the stages that the command line asks for, in order: clean, simplify, filters, decontaminate.

    clean: names of rules, none given for all of them; filters: ``NAME[=VALUE]`` texts; decontaminate: paths of task files, whose
    n-grams are stored in `work_folder`; lang: of the corpus, None for several. Raises UsageError, NotFoundError and InputError.
    """
    stages: list[Stage] = [make_clean(clean) if clean else Clean()]
    if simplify:
        stages.append(make_simplify())
    stages += stages_for(parse_filters(filters), lang)
    if decontaminate:
        stages.append(prepare_decontamination(decontaminate, work_folder))
    return tuple(stages)


def make_stages(descriptions: Sequence[Mapping[str, Any]], work_folder: Path | None = None) -> tuple[Stage, ...]:
    """Return the stages that a recipe describes, in order.

    work_folder: where stages find files made for them before the build (`decontaminate`). Raises UsageError for a name that is
    not known.
    """
    return tuple(_make(description, work_folder) for description in descriptions)


def _make(description: Mapping[str, Any], work_folder: Path | None) -> Stage:
    name = str(description["name"])
    if name == "clean":
        return make_clean(description["rules"])
    if name == "simplify":
        return Simplify.from_description(dict(description))
    if name == "decontaminate":
        return Decontaminate.from_description(description, work_folder)
    if name in FILTER_STAGES:
        return make_filter(description)
    raise unknown_name("stage", name, ("clean", "simplify", "decontaminate", *FILTER_STAGES))


def run_stages(documents: Iterable[Document], stages: Sequence[Stage], ledger: Ledger) -> Iterator[Document]:
    """Yield the documents that every stage lets through; account for the rest, for rows that a stage took out, and for changes.

    A row counts as dropped when none of its lines is left, under the reason of the first of them to go.
    """
    for document, first in _first_results(documents, stages):
        result, lost, changed = apply(first, stages[1:])
        for rule, rows in changed:
            ledger.change_rows(rule, rows)
        if result is document:
            ledger.keep(document.distinct_rows)
            yield document
            continue
        kept: Sequence[int] = ()
        if isinstance(result, Drop):
            ledger.drop_document(result.reason)
        else:
            kept = result.rows
            ledger.keep(result.distinct_rows)
        if len(kept) != len(document.rows):
            _drop_rows(document.rows, kept, lost, result.reason if isinstance(result, Drop) else "empty", ledger)
        if isinstance(result, Document):
            yield result


def _first_results(documents: Iterable[Document], stages: Sequence[Stage]) -> Iterator[tuple[Document, Result]]:
    """Yield each document, and what the first stage returns for it."""
    first: object = stages[0] if stages else None
    if not isinstance(first, StageOfMany):
        for document in documents:
            yield document, stages[0](document) if stages else document
        return
    for batch in batches(documents, _MANY_CHARACTERS):
        yield from zip(batch, first.of_many(batch), strict=True)


def apply(
    result: Result, stages: Sequence[Stage]
) -> tuple[Document | Drop, list[tuple[int, str]], list[tuple[str, Sequence[int]]]]:
    """Return a document, or what a stage made of it, after all `stages`, or why it is dropped; and what happened on the way.

    That is the lines lost as (row, reason), and (rule, rows that it changed).
    """
    lost: list[tuple[int, str]] = []
    changed: list[tuple[str, Sequence[int]]] = []
    later = iter(stages)
    while True:
        if isinstance(result, Edited):
            lost += result.lost
            changed += result.changed.items()
            result = result.result
        if isinstance(result, Drop) or (stage := next(later, None)) is None:
            return result, lost, changed
        result = stage(result)


def _drop_rows(rows: Sequence[int], kept: Sequence[int], lost: Sequence[tuple[int, str]], otherwise: str, ledger: Ledger) -> None:
    reason_of: dict[int, str] = {}
    for row, reason in lost:
        reason_of.setdefault(row, reason)
    by_reason: dict[str, set[int]] = {}
    for row in set(rows).difference(kept):
        by_reason.setdefault(reason_of.get(row, otherwise), set()).add(row)
    for reason in sorted(by_reason):
        ledger.drop_rows(by_reason[reason], reason)
