"""Plan, build, commit: how a corpus becomes a data set, and what a build that was stopped leaves for the next.

Shards are written under their final names, which carry the plan's hash, beside whatever was there before; each finished unit
leaves a report in the work folder. A build that starts again takes units whose report and shards still agree, byte for byte,
and makes the rest. Replacing manifest.json is the commit; only then are superseded files deleted.
"""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import shards
from pipeline.documents import MAX_REJECTS_PER_REASON
from pipeline.errors import EmptyCorpusError
from pipeline.inputs import FoundInputs, InputFile
from pipeline.local_engine import Engine
from pipeline.plan import FileScan, Plan, Unit, make_plan, scan_file
from pipeline.progress import Progress
from pipeline.recipe import Recipe
from pipeline.tokenizer import Tokenizer
from pipeline.unit import UnitBuilder, UnitReport, UnitShard
from shards.canonical import fingerprint, pretty_json, read_json_object
from shards.durable import commit_bytes, hash_file, remove_file, remove_tree, sweep
from shards.errors import ExistsError, FormatError, NotFoundError
from shards.manifest import MANIFEST_NAME, FileEntry, Manifest, ShardEntry, Tally, TokenizerEntry
from shards.odometer import shard_odometer, to_hex

WORK_PREFIX = ".build-"
_OURS = ("train-", "heldout-", "tokenizer-", WORK_PREFIX)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A committed data set, and what making it took."""

    manifest: Manifest
    reports: tuple[UnitReport, ...]
    reused_units: int
    elapsed_s: float


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Raise ExistsError when `folder` holds a data set and may not be replaced, or anything that is not ours."""
    if (folder / MANIFEST_NAME).exists():
        if not overwrite:
            raise ExistsError(
                "there is a data set here already", where=folder,
                hint="Pass --overwrite to replace it (it stays until the new one is whole), or another --name",
            )  # fmt: skip
        return
    strange = [p.name for p in folder.iterdir() if not p.name.startswith(_OURS)] if folder.is_dir() else []
    strange = [name for name in strange if ".tmp-" not in name]
    if strange or (folder.exists() and not folder.is_dir()):
        raise ExistsError(
            "holds files that are no data set", where=folder, got=", ".join(strange[:3]), hint="Pass another --name"
        )


def scan(inputs: FoundInputs, unit_bytes: int, engine: Engine) -> tuple[FileScan, ...]:
    """Read every input once; see `pipeline.plan`."""
    progress = Progress("planning", inputs.total_bytes)
    scans: dict[int, FileScan] = {}
    for position, found in engine.run(partial(_scanner, unit_bytes), inputs.files):
        scans[position] = found
        progress.add(found.size)
    progress.close()
    return tuple(scans[i] for i in range(len(inputs.files)))


def _scanner(unit_bytes: int) -> Callable[[InputFile], FileScan]:
    return partial(scan_file, unit_bytes=unit_bytes)


def build(
    folder: Path, inputs: FoundInputs, scans: tuple[FileScan, ...], recipe: Recipe, tokenizer: Tokenizer, engine: Engine
) -> Built:
    """Build the data set `folder` and commit it. The caller holds the folder's lock.

    Raises InputError, StorageError, EngineError, EmptyCorpusError; whatever was committed before then is untouched.
    """
    begun = time.perf_counter()
    plan = make_plan(inputs.files, scans)
    plan_hash = plan.plan_hash(fingerprint(recipe.to_json_object()), tokenizer.hash)
    hash8 = plan_hash[:8]
    work = folder / f"{WORK_PREFIX}{hash8}"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    work.mkdir(exist_ok=True)
    sweep(work)
    tokenizer_entry = _store_tokenizer(folder, tokenizer)
    reports = {unit.index: report for unit in plan.units if (report := _finished(folder, work, unit))}
    reused = len(reports)
    waiting = [unit for unit in plan.units if unit.index not in reports]
    progress = Progress("building", sum(u.end - u.begin for u in plan.units))
    progress.add(sum(u.end - u.begin for u in plan.units if u.index in reports))
    make = partial(_unit_function, recipe, folder / tokenizer_entry.folder, folder, hash8)
    for position, report in engine.run(make, waiting):
        commit_bytes(work / f"unit-{report.index:05d}.json", pretty_json(report.to_json_object()))
        reports[report.index] = report
        progress.add(waiting[position].end - waiting[position].begin)
    progress.close()
    ordered = tuple(reports[unit.index] for unit in plan.units)
    elapsed_s = time.perf_counter() - begun
    try:
        manifest = _manifest(plan, recipe, plan_hash, tokenizer_entry, ordered, elapsed_s, engine.description)
    except EmptyCorpusError:
        _withdraw(folder, work, tokenizer_entry, ordered)
        raise
    manifest.commit(folder)
    _delete_superseded(folder, manifest)
    return Built(manifest=manifest, reports=ordered, reused_units=reused, elapsed_s=elapsed_s)


def _unit_function(recipe: Recipe, tokenizer_folder: Path, out: Path, hash8: str) -> Callable[[Unit], UnitReport]:
    return UnitBuilder(recipe, tokenizer_folder, out, hash8).build


def _store_tokenizer(folder: Path, tokenizer: Tokenizer) -> TokenizerEntry:
    name = f"tokenizer-{tokenizer.hash[:8]}"
    (folder / name).mkdir(exist_ok=True)
    sweep(folder / name)
    files: list[FileEntry] = []
    for file_name, data in sorted(tokenizer.files().items()):
        digest = commit_bytes(folder / name / file_name, data)
        files.append(FileEntry(name=file_name, size=digest.size, sha256=digest.sha256))
    return TokenizerEntry(
        kind=tokenizer.kind, folder=name, hash=tokenizer.hash, files=tuple(files), vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special_ids, pair_template=tokenizer.pair_template,
    )  # fmt: skip


def _finished(folder: Path, work: Path, unit: Unit) -> UnitReport | None:
    """Return the report of a unit that an earlier build finished, if its shards are still what it wrote."""
    try:
        report = UnitReport.from_json_object(read_json_object(work / f"unit-{unit.index:05d}.json"))
        for shard in report.shards:
            digest = hash_file(folder / shard.file)
            if (digest.sha256, digest.size) != (shard.sha256, shard.bytes):
                return None
    except (NotFoundError, FormatError, TypeError, KeyError, OSError):
        return None
    return report


def _manifest(
    plan: Plan, recipe: Recipe, plan_hash: str, tokenizer: TokenizerEntry, reports: tuple[UnitReport, ...],
    elapsed_s: float, engine: str,
) -> Manifest:  # fmt: skip
    files = [shard for split in ("train", "heldout") for report in reports for shard in report.shards if shard.split == split]
    tally = _tally(reports)
    if not any(shard.split == "train" for shard in files):
        raise EmptyCorpusError(
            "no document is left to train on", got=json.dumps({"read": tally.read, "dropped": dict(tally.dropped)}),
            hint="Is it the right --corpus and --input? A smaller --heldout keeps more for training",
        )  # fmt: skip
    histogram: Counter[str] = Counter()
    for report in reports:
        histogram.update(report.histogram)
    rejects: dict[str, list[str]] = {}
    for unit, report in zip(plan.units, reports, strict=True):
        for reason, rows in report.rejects.items():
            sample = rejects.setdefault(reason, [])
            sample += [f"{plan.corpus[unit.file_index].path}:{row}" for row in rows][: MAX_REJECTS_PER_REASON - len(sample)]
    total_bytes = sum(entry.size for entry in plan.corpus)
    return Manifest(
        recipe=recipe.to_json_object(),
        corpus=plan.corpus,
        tokenizer=tokenizer,
        shards=tuple(_shard_entry(index, shard) for index, shard in enumerate(files)),
        length_histogram=dict(sorted(histogram.items())),
        tally=tally,
        tag=plan_hash[:16],
        made={
            "version": shards.__version__,
            "python": platform.python_version(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "engine": engine,
            "elapsed_s": round(elapsed_s, 3),
            "unit_seconds": round(sum(report.elapsed_s for report in reports), 3),
            "input_bytes": total_bytes,
            "rejects": rejects,
        },
    )


def _shard_entry(index: int, shard: UnitShard) -> ShardEntry:
    return ShardEntry(
        file=shard.file, split=shard.split, rows=shard.rows, tokens=shard.tokens, bytes=shard.bytes, sha256=shard.sha256,
        odometer=to_hex(shard_odometer(index, shard.rows)),
    )  # fmt: skip


def _tally(reports: tuple[UnitReport, ...]) -> Tally:
    def total(kind: str) -> tuple[int, int, dict[str, int]]:
        counts: list[dict[str, Any]] = [getattr(report, kind) for report in reports]
        dropped: Counter[str] = Counter()
        for count in counts:
            dropped.update(count["dropped"])
        return sum(c["read"] for c in counts), sum(c["kept"] for c in counts), dict(sorted(dropped.items()))

    read, kept, dropped = total("documents")
    rows_read, rows_kept, rows_dropped = total("rows")
    return Tally(read=read, kept=kept, dropped=dropped, rows_read=rows_read, rows_kept=rows_kept, rows_dropped=rows_dropped)


def _withdraw(folder: Path, work: Path, tokenizer: TokenizerEntry, reports: tuple[UnitReport, ...]) -> None:
    """Take back a build that ended with nothing to commit; a data set committed before keeps what it uses."""
    kept = Manifest.read(folder) if (folder / MANIFEST_NAME).exists() else None
    wanted = {entry.file for entry in kept.shards} | {kept.tokenizer.folder} if kept is not None else set()
    for name in [shard.file for report in reports for shard in report.shards if shard.file not in wanted]:
        remove_file(folder / name)
    if tokenizer.folder not in wanted:
        remove_tree(folder / tokenizer.folder)
    remove_tree(work)
    if not any(folder.iterdir()):
        remove_tree(folder)


def _delete_superseded(folder: Path, manifest: Manifest) -> None:
    wanted = {entry.file for entry in manifest.shards} | {manifest.tokenizer.folder, MANIFEST_NAME}
    for path in sorted(folder.iterdir()):
        if path.name not in wanted and path.name.startswith(_OURS):
            remove_tree(path) if path.is_dir() and not path.is_symlink() else remove_file(path)
