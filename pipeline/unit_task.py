"""What a worker runs for each unit: build it in a folder of its own machine, then publish what it wrote."""

from __future__ import annotations

from pathlib import Path

from pipeline.recipe import Recipe
from pipeline.unit import UnitBuilder, UnitReport
from pipeline.units import Unit
from shards.allocator import keep_freed_memory
from shards.storage import Storage


class UnitTask:
    """Builds and publishes units; made once in each worker, which then holds its own copy of the tokenizer."""

    def __init__(self, recipe: Recipe, storage: Storage, tokenizer_folder: str, hash8: str, work_folder: Path) -> None:
        keep_freed_memory()
        self._staging = storage.staging()
        self._builder = UnitBuilder(recipe, self._staging.fetch_folder(tokenizer_folder), self._staging.path, hash8, work_folder)

    def __call__(self, unit: Unit) -> UnitReport:
        report = self._builder.build(unit)
        for shard in report.shards:
            self._staging.publish(shard.file)
        return report
