"""``--append``: new files become new shards of a data set that is there, made by the recipe that made the others.

The old shards stay as they are, byte for byte and under their numbers, so that every sample keeps its id; the new ones come
after them, in the order of a build of their own. Options that are not given are those of the recipe; options that are given
must agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, RecipeError
from pipeline.inputs import InputFile
from pipeline.recipe import Recipe
from pipeline.recipe_segmenter import segmenter_of
from pipeline.scan import FileScan
from pipeline.stages import make_stages
from pipeline.units import Plan, make_plan
from shards.canonical import fingerprint
from shards.errors import WordloomError
from shards.manifest import Manifest


def stored_recipe(manifest: Manifest, where: str, work_folder: Path) -> Recipe:
    """Return the recipe to add to a data set with; what its stages need lies in `work_folder`.

    Raises RecipeError when this version would not make the same of the same text, or when the recipe looks at all documents
    together.
    """
    stored = dict(manifest.recipe)
    if stored.get("deduplication") is not None:
        raise RecipeError(
            "cannot add to a data set without duplicates", where=where,
            hint="The old texts, with which new ones would have to be compared, are not in it: build anew from all files",
        )  # fmt: skip
    names = {field.name for field in fields(Recipe)}
    if unknown := sorted((set(stored) - {"version"}) ^ names):
        raise RecipeError("the recipe is one of another version", where=where, got=", ".join(unknown), hint="Build it anew")
    values: dict[str, Any] = {name: tuple(stored[name]) if name == "stages" else stored[name] for name in names}
    recipe = Recipe(**values)
    if recipe.to_json_object() != stored:
        raise RecipeError("the recipe is one of another version", where=where, hint="Build it anew")
    try:
        segmenter = segmenter_of(recipe.segmenter, work_folder).identity
        stages = [stage.description for stage in make_stages(recipe.stages, work_folder)]
    except WordloomError as error:
        raise RecipeError(f"the recipe cannot be followed here: {error}", where=where) from error
    for name, then, now in (("segmenter", recipe.segmenter, segmenter), ("stages", list(recipe.stages), stages)):
        if then != now:
            raise RecipeError(
                f"{name} of the recipe and of this version differ", where=where, expected=then, got=now, hint="Build it anew"
            )
    return recipe


def check_agreement(stored: Recipe, asked: Mapping[str, Any], where: str) -> None:
    """Raise RecipeError, naming every option, where a value that was asked for is not that of the recipe."""
    recipe = stored.to_json_object()
    differing = {name: value for name, value in asked.items() if recipe[name] != value}
    if differing:
        there = {name: recipe[name] for name in sorted(differing)}
        if "stages" in differing:  # of a long list, those that differ
            there["stages"], differing["stages"] = (
                [stage for stage in one if stage not in other]
                for one, other in ((there["stages"], differing["stages"]), (differing["stages"], there["stages"]))
            )
        raise RecipeError(
            f"the data set was made with other options: {', '.join(sorted(differing))}", where=where,
            expected=there, got=dict(sorted(differing.items())),
            hint="Leave them out, or build another data set",
        )  # fmt: skip


def check_tokenizer(base: Manifest, got: str, where: str) -> None:
    """Raise RecipeError when a tokenizer is not the one that the data set was made with."""
    if got != base.tokenizer.hash:
        raise RecipeError(
            "the data set was made with another tokenizer", where=where, expected=base.tokenizer.hash[:16], got=got[:16]
        )


def new_files(
    base: Manifest, files: Sequence[InputFile], scans: Sequence[FileScan]
) -> tuple[list[tuple[InputFile, FileScan]], list[str]]:
    """Return the files that the data set does not have yet, with their scans, and the paths of those that it has.

    Raises InputError for a file that it has with other content.
    """
    known = {entry.path: entry.sha256 for entry in base.corpus}
    fresh: list[tuple[InputFile, FileScan]] = []
    skipped: list[str] = []
    for file, scan in zip(files, scans, strict=True):
        if file.path not in known:
            fresh.append((file, scan))
        elif known[file.path] == scan.sha256:
            skipped.append(file.path)
        else:
            raise InputError(
                "the data set has a file of this path with other content", where=file.path, expected=known[file.path][:16],
                got=scan.sha256[:16], hint="Give it another name, or build anew with --overwrite",
            )  # fmt: skip
    return fresh, skipped


def extended_plan(base: Manifest, files: Sequence[InputFile], scans: Sequence[FileScan]) -> Plan:
    """Return the plan of the new files alone, files and shards numbered after those of the data set."""
    plan = make_plan(files, scans)
    first_unit = 1 + max((_number(entry.file) for entry in base.shards), default=-1)
    units = tuple(replace(u, index=u.index + first_unit, file_index=u.file_index + len(base.corpus)) for u in plan.units)
    return replace(plan, corpus=base.corpus + plan.corpus, units=units)


def append_hash(base: Manifest, plan_hash: str) -> str:
    """Return what names the new shards: never what a build of all files at once would name its own."""
    return fingerprint(["append", base.fingerprint, plan_hash])


def _number(file: str) -> int:
    digits = file.removesuffix(".arrow").rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1
