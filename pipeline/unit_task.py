"""What a worker runs for each unit: build it in a folder of its own machine, then publish what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.han_runs import runs_of
from pipeline.recipe import Recipe
from pipeline.recipe_segmenter import has_user_dictionary, segmenter_of
from pipeline.unit import UnitBuilder, UnitReport
from pipeline.units import Unit
from shards.storage import Storage


def prepare_worker(segmenter: Mapping[str, Any]) -> None:
    """Load the tables of the segmenter that a recipe describes: half a second that no unit has to wait for.

    English text is no exception: there is hardly a block of it without a few Han.
    """
    if not has_user_dictionary(segmenter):  # whose words a worker does not have yet
        segmenter_of(segmenter, None).word_starts(runs_of("字"))


class UnitTask:
    """Builds and publishes units; made once in each worker, which then holds its own copy of the tokenizer."""

    def __init__(self, recipe: Recipe, storage: Storage, tokenizer_folder: str, hash8: str, work_folder: Path) -> None:
        self._staging = storage.staging()
        self._builder = UnitBuilder(recipe, self._staging.fetch_folder(tokenizer_folder), self._staging.path, hash8, work_folder)

    def __call__(self, unit: Unit) -> UnitReport:
        report = self._builder.build(unit)
        for shard in report.shards:
            self._staging.publish(shard.file)
        return report
