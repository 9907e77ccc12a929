"""From the options of a command line to a recipe; `pipeline.build` and `pipeline.plan` share it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.build_options import DEFAULT_SHORT_SEQ_PROB, Target
from pipeline.dedup import deduplication_settings
from pipeline.reader_settings import ReaderSettings
from pipeline.recipe import Recipe
from pipeline.recipe_segmenter import prepared_segmenter
from pipeline.stages import chosen_stages
from shards.masks import MaskPolicy


def recipe_of(options: argparse.Namespace, target: Target, work_folder: Path) -> Recipe:
    """Return the recipe that the options ask for, but for what depends on the input.

    What stages need is put below `work_folder`. Raises UsageError, NotFoundError and InputError: a wrong option is told before
    hours of reading, not after.
    """
    assert target.corpus is not None
    deduplication = deduplication_settings(options.deduplicate, options.near_threshold)
    stages = chosen_stages(
        clean=options.clean, simplify=options.simplify, filters=options.filter, decontaminate=options.decontaminate,
        lang=target.lang, work_folder=work_folder,
    )  # fmt: skip
    return Recipe(
        corpus=target.corpus.name, lang=target.lang, layout=options.layout, max_seq_len=options.max_seq_len,
        short_seq_prob=DEFAULT_SHORT_SEQ_PROB, heldout=options.heldout, seed=options.seed, unit_bytes=options.unit_size or 0,
        segmenter=prepared_segmenter(options.segmenter, not options.no_hmm, options.user_dictionary, work_folder).identity,
        reader=reader_settings(options).to_json_object(), stages=tuple(stage.description for stage in stages),
        deduplication=None if deduplication is None else deduplication.description, masking=_masking(options), tokenizer={},
        on_error=options.on_error,
    )  # fmt: skip


def reader_settings(options: argparse.Namespace) -> ReaderSettings:
    """Return how the input is to be read. Raises UsageError."""
    return ReaderSettings(format=options.format, field=options.field, encoding=options.encoding)


def _masking(options: argparse.Namespace) -> dict[str, Any]:
    if options.masking == "dynamic":
        return {"kind": "dynamic"}
    return {"kind": "static", "copies": options.dupe_factor, "rate": MaskPolicy().rate}
