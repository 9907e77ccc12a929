"""Plan, build, commit: how a corpus becomes a data set, and what a build that was stopped leaves for the next.

Shards are written under their final names, which carry the plan's hash, beside whatever was there before; each finished unit
leaves a report in the work folder. Units that an earlier build left whole are taken over (`pipeline.reuse`), the rest is made.
All shards are settled on disk before manifest.json is replaced, which is the commit; only then are superseded files deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.append import append_hash, extended_plan
from pipeline.commit import OURS, delete_superseded, make_manifest, withdraw
from pipeline.errors import EmptyCorpusError
from pipeline.inputs import FoundInputs, InputFile
from pipeline.local_engine import Engine
from pipeline.made_notes import Skipped, in_words, merged_skipped
from pipeline.progress import Progress
from pipeline.reader_settings import ReaderSettings
from pipeline.recipe import Recipe
from pipeline.reuse import WORK_PREFIX, committed_units, store_report, store_units, take_over, unfinished_units, unit_keys
from pipeline.scan import FileScan, scan_file
from pipeline.tokenizer import Tokenizer
from pipeline.unit import UnitReport
from pipeline.unit_task import UnitTask
from pipeline.units import Plan, Unit, flatten, make_plan
from shards.canonical import fingerprint
from shards.errors import ExistsError, FormatError, NotFoundError
from shards.manifest import MANIFEST_NAME, FileEntry, Manifest, TokenizerEntry
from shards.storage import Storage

_GROUP_BYTES, _MIN_GROUPS = 8 << 20, 64


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """The inputs, archives replaced by their members, and their scans; skipped: see `pipeline.made_notes`."""

    files: tuple[InputFile, ...]
    scans: tuple[FileScan, ...]
    skipped: Skipped


@dataclass(frozen=True, kw_only=True)
class Built:
    """A committed data set, and what making it took."""

    manifest: Manifest
    reports: tuple[UnitReport, ...]
    reused_units: int
    retries: int
    input_bytes: int
    elapsed_s: float


def read_committed(storage: Storage) -> Manifest | None:
    """Return the manifest of the data set that is there, None when there is none. Raises FormatError, IntegrityError."""
    try:
        data = storage.read(MANIFEST_NAME)
    except NotFoundError:
        return None
    return Manifest.from_bytes(data, f"{storage.where}/{MANIFEST_NAME}")


def _readable(storage: Storage) -> Manifest | None:
    try:
        return read_committed(storage)
    except FormatError as error:
        print(f"the data set that is to be replaced is damaged, nothing of it is used again: {error}")
        return None


def check_output(storage: Storage, *, overwrite: bool) -> None:
    """Raise ExistsError when there is a data set that may not be replaced, or anything that is not ours."""
    names = storage.names()
    if MANIFEST_NAME in names:
        if not overwrite:
            raise ExistsError(
                "there is a data set here already", where=storage.where,
                hint="Pass --overwrite to replace it (it stays until the new one is whole), --append to add files to it, "
                "or another --name",
            )  # fmt: skip
        return
    strange = [name for name in names if not name.startswith(OURS) and ".tmp-" not in name]
    if strange:
        raise ExistsError(
            "holds files that are no data set", where=storage.where, got=", ".join(strange[:3]), hint="Pass another --name"
        )


def scan(inputs: FoundInputs, unit_bytes: int, engine: Engine, settings: ReaderSettings, work_folder: Path) -> Scanned:
    """Read every input once, see `pipeline.scan`; say what was passed over."""
    progress = Progress("planning", inputs.total_bytes)
    groups = _groups(inputs.files, min(_GROUP_BYTES, inputs.total_bytes // _MIN_GROUPS))
    scans: dict[int, list[FileScan]] = {}
    for position, of_group in engine.run(partial(_scanner, unit_bytes, settings, work_folder), groups):
        scans[position] = of_group
        progress.add(sum(found.size for found in of_group))
    progress.close()
    ordered = [found for position in range(len(groups)) for found in scans[position]]
    of_archives = {file.path: dict(found.skipped) for file, found in zip(inputs.files, ordered, strict=True) if found.skipped}
    skipped = merged_skipped(inputs.skipped, of_archives)
    for path, kinds in skipped.items():
        print(f"{path}: passed over {in_words(kinds)}")
    files, flat = flatten(inputs.files, ordered)
    return Scanned(files=files, scans=flat, skipped=skipped)


def _groups(files: Sequence[InputFile], least_bytes: int) -> list[list[InputFile]]:
    """Return the files, in order, in groups of at least so many bytes: handing out a small file takes as long as reading it."""
    groups: list[list[InputFile]] = []
    size = least_bytes
    for file in files:
        if size >= least_bytes:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.size
    return groups


def _scanner(unit_bytes: int, settings: ReaderSettings, work_folder: Path) -> Callable[[Sequence[InputFile]], list[FileScan]]:
    return lambda files: [scan_file(file, unit_bytes=unit_bytes, settings=settings, work=work_folder) for file in files]


def build(
    storage: Storage, files: Sequence[InputFile], scans: Sequence[FileScan], recipe: Recipe, tokenizer: Tokenizer, engine: Engine,
    *, work_folder: Path, base: Manifest | None = None, context: str = "", skipped: Skipped | None = None,
) -> Built:  # fmt: skip
    """Build a data set and commit it. The caller holds the storage's lock.

    work_folder: what was made for the build before it; base: the data set to add the files to; context: hash of what units depend
    on beside recipe, tokenizer and their bytes; skipped: of `Scanned`, for the manifest.
    Raises InputError, StorageError, StageError, EngineError, EmptyCorpusError; what was committed before is then untouched.
    """
    begun = time.perf_counter()
    plan = make_plan(files, scans) if base is None else extended_plan(base, files, scans)
    plan_hash = plan.plan_hash(fingerprint(recipe.to_json_object()), tokenizer.hash)
    plan_hash = plan_hash if base is None else append_hash(base, plan_hash)
    committed = _readable(storage)
    storage.prepare()
    entry = base.tokenizer if base is not None else _store_tokenizer(storage, tokenizer)
    keys = unit_keys(plan.units, recipe, tokenizer.hash, context)
    build = _Build(storage, plan, keys, plan_hash[:8])
    build.reuse(committed, recipe.on_error)
    reused = len(build.reports)
    build.run(engine, partial(UnitTask, recipe, storage, entry.folder, build.hash8, work_folder))
    reports = tuple(build.reports[unit.index] for unit in plan.units)
    storage.settle([shard.file for report in reports for shard in report.shards])
    elapsed_s = time.perf_counter() - begun
    made: dict[str, Any] = {
        "engine": engine.description, "elapsed_s": round(elapsed_s, 3), "retries": engine.retries, "skipped": skipped or {},
    }  # fmt: skip
    try:
        manifest = make_manifest(plan, recipe, plan_hash, entry, reports, made, base)
    except EmptyCorpusError:
        withdraw(storage, committed)
        raise
    units = committed_units(storage, base) | dict(zip(keys, reports, strict=True))
    manifest = manifest.with_made({"units": store_units(storage, build.hash8, units)})
    storage.write(MANIFEST_NAME, manifest.to_bytes())
    delete_superseded(storage, manifest)
    return Built(
        manifest=manifest, reports=reports, reused_units=reused, retries=engine.retries,
        input_bytes=sum(scan.size for scan in scans), elapsed_s=elapsed_s,
    )  # fmt: skip


class _Build:
    """The units of one build: reports of those that are there, by index."""

    def __init__(self, storage: Storage, plan: Plan, keys: Sequence[str], hash8: str) -> None:
        self.storage, self.plan, self.hash8 = storage, plan, hash8
        self.keys = {unit.index: key for unit, key in zip(plan.units, keys, strict=True)}
        self.work = f"{WORK_PREFIX}{hash8}"
        self.reports: dict[int, UnitReport] = {}
        storage.prepare(self.work)

    def reuse(self, committed: Manifest | None, on_error: str) -> None:
        """Take over what earlier builds left whole."""
        known = committed_units(self.storage, committed) | unfinished_units(self.storage)
        for unit in self.plan.units:
            report = known.get(self.keys[unit.index])
            if report is not None and report.quarantined and on_error == "stop":
                continue  # what was set aside then has to stop this build
            if report is not None and (taken := take_over(self.storage, unit, report, self.hash8)) is not None:
                store_report(self.storage, self.work, self.keys[unit.index], taken)
                self.reports[unit.index] = taken

    def run(self, engine: Engine, make: Callable[[], Callable[[Unit], UnitReport]]) -> None:
        """Make the units that are not there yet."""
        waiting = [unit for unit in self.plan.units if unit.index not in self.reports]
        progress = Progress("building", sum(u.end - u.begin for u in self.plan.units))
        progress.add(sum(u.end - u.begin for u in self.plan.units if u.index in self.reports))
        for position, report in engine.run(make, waiting):
            store_report(self.storage, self.work, self.keys[report.index], report)
            self.reports[report.index] = report
            progress.add(waiting[position].end - waiting[position].begin)
        progress.close()


def _store_tokenizer(storage: Storage, tokenizer: Tokenizer) -> TokenizerEntry:
    name = f"tokenizer-{tokenizer.hash[:8]}"
    storage.prepare(name)
    files: list[FileEntry] = []
    for file_name, data in sorted(tokenizer.files().items()):
        digest = storage.write(f"{name}/{file_name}", data)
        files.append(FileEntry(name=file_name, size=digest.size, sha256=digest.sha256))
    return TokenizerEntry(
        kind=tokenizer.kind, folder=name, hash=tokenizer.hash, files=tuple(files), vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special_ids, pair_template=tokenizer.pair_template,
    )  # fmt: skip
