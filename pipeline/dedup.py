"""Deduplication: a pass over all units before the build, which ends in a list of the documents to leave out.

Exact duplicates are documents whose text, after all stages, has the same 128-bit hash. Near duplicates are found by MinHash over
character shingles and locality-sensitive hashing, confirmed by their whole signatures and joined into clusters; of every cluster
the document with the lowest (file, row) stays. Whatever is sorted is sorted on disk: memory stays below `max_memory_bytes`
in this process, and workers hold one unit. The result depends on the units' documents and the settings and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.connected import lowest_of_components, unique_records
from pipeline.dedup_fingerprints import ID_BITS, Fingerprinter, Shingling, UnitFingerprints, rows_path
from pipeline.dedup_near import candidate_pairs, verified_pairs
from pipeline.drop_list import DROP_LIST, REASONS, DropList, write_drop_list
from pipeline.external_sort import ExternalSort, Records
from pipeline.local_engine import Engine
from pipeline.minhash import bands_and_rows
from pipeline.progress import Progress
from pipeline.units import Unit
from shards.durable import remove_tree
from shards.errors import UsageError

KINDS = ("exact", "near")
_VERSION = 1
_DUPLICATE, _NEAR_DUPLICATE = REASONS.index("duplicate"), REASONS.index("near_duplicate")


@dataclass(frozen=True, kw_only=True)
class DeduplicationSettings:
    """What counts as a duplicate.

    kind: ``exact``, or ``near`` (both); threshold: estimated Jaccard similarity of shingle sets from which two texts are one;
    permutations: length of a signature; shingle_characters: characters a shingle; max_memory_bytes: of the sorting process, no
    part of the recipe, since the result is the same.
    """

    kind: str
    threshold: float = 0.8
    permutations: int = 128
    shingle_characters: int = 5
    max_memory_bytes: int = 512 << 20

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError("unknown kind of deduplication", expected=" or ".join(KINDS), got=self.kind)
        if not 0.2 <= self.threshold <= 1.0:
            raise UsageError(f"the threshold of near duplicates must lie between 0.2 and 1, got {self.threshold}")
        if not 16 <= self.permutations <= 1024:
            raise UsageError(f"a signature takes 16 to 1024 permutations, got {self.permutations}")
        if not 1 <= self.shingle_characters <= 100:
            raise UsageError(f"a shingle takes 1 to 100 characters, got {self.shingle_characters}")
        if self.max_memory_bytes < 1 << 16:
            raise UsageError(f"deduplication needs at least {1 << 16} bytes of memory, got {self.max_memory_bytes}")

    @property
    def description(self) -> dict[str, Any]:
        """Everything that can change the outcome, for the recipe."""
        exact = {"kind": self.kind, "version": _VERSION}
        if self.kind == "exact":
            return exact
        bands, rows = bands_and_rows(self.permutations, self.threshold)
        return exact | {
            "threshold": self.threshold, "permutations": self.permutations, "shingle_characters": self.shingle_characters,
            "bands": bands, "rows": rows,
        }  # fmt: skip


def deduplication_settings(kind: str, near_threshold: float = 0.8) -> DeduplicationSettings | None:
    """Return the settings that the command line asks for; None for ``none``. Raises UsageError."""
    return None if kind == "none" else DeduplicationSettings(kind=kind, threshold=near_threshold)


def find_duplicates(
    units: Sequence[Unit],
    stages: Sequence[Mapping[str, Any]],
    work_folder: Path,
    engine: Engine,
    settings: DeduplicationSettings,
    on_error: str = "stop",
) -> DropList:
    """Find the duplicates among the documents of all units and commit their list as ``work_folder/duplicates.list``.

    units: in the order of a plan; stages: descriptions of the recipe's stages, whose output is compared. A list left by an
    earlier run is overwritten. on_error: see `pipeline.guard`; documents set aside are compared with none. Raises InputError,
    StorageError, StageError and what the engine raises.
    """
    folder = work_folder / "deduplication"
    remove_tree(folder)
    folder.mkdir(parents=True)
    shingling = _shingling(settings)
    make = partial(Fingerprinter, tuple(stages), work_folder, folder, shingling, on_error)
    progress = Progress("looking for duplicates", sum(unit.end - unit.begin for unit in units))
    done: list[UnitFingerprints] = []
    for position, result in engine.run(make, list(units)):
        done.append(result)
        progress.add(units[position].end - units[position].begin)
    progress.close()
    done.sort(key=lambda result: result.index)
    share = settings.max_memory_bytes // 4  # at most four of what follows hold records at once
    dropped = ExternalSort(folder, "dropped", 2, share)
    for ids in _copies(_sorted_runs(folder, "exact", [name for unit in done for name in unit.exact], share)):
        dropped.add(_with_reason(ids, _DUPLICATE))
    if shingling is not None:
        near = _sorted_runs(folder, "near", [name for unit in done for name in unit.near], share)
        for records in _near_duplicates(near, folder, settings, share):
            dropped.add(_with_reason(records[:, 0], _NEAR_DUPLICATE))
    file_of = {unit.index: unit.file_index for unit in units}
    found = write_drop_list(work_folder / DROP_LIST, _entries(dropped.chunks(), folder, file_of))
    remove_tree(folder)
    return found


def _shingling(settings: DeduplicationSettings) -> Shingling | None:
    if settings.kind == "exact":
        return None
    bands, rows = bands_and_rows(settings.permutations, settings.threshold)
    return Shingling(permutations=settings.permutations, width=settings.shingle_characters, bands=bands, rows=rows)


def _sorted_runs(folder: Path, name: str, runs: Sequence[str], max_bytes: int) -> Iterator[Records]:
    merge = ExternalSort(folder, name, 3, max_bytes)
    for run in runs:
        merge.add_run(folder / run)
    return merge.chunks()


def _copies(chunks: Iterable[Records]) -> Iterator[NDArray[np.uint64]]:
    """Yield the ids of all but the lowest of those that share a hash, from sorted (hash, hash, id)."""
    last: Records | None = None
    for chunk in chunks:
        copy = np.zeros(len(chunk), np.bool_)
        copy[1:] = (chunk[1:, :2] == chunk[:-1, :2]).all(axis=1)
        copy[0] = last is not None and bool((chunk[0, :2] == last).all())
        last = chunk[-1, :2].copy()
        yield chunk[copy, 2]


def _near_duplicates(near: Iterable[Records], folder: Path, settings: DeduplicationSettings, share: int) -> Iterator[Records]:
    pairs = ExternalSort(folder, "pairs", 2, share)
    for part in candidate_pairs(near):
        pairs.add(part)
    verified = verified_pairs(unique_records(pairs.chunks()), folder, settings.permutations, settings.threshold, share)
    return lowest_of_components(verified, folder, share)


def _with_reason(ids: NDArray[np.uint64], reason: int) -> Records:
    return np.stack([ids, np.full(len(ids), reason, np.uint64)], axis=1)


def _entries(
    chunks: Iterable[Records], folder: Path, file_of: Mapping[int, int]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]]:
    """Turn sorted (id, reason) into files, rows and reasons."""
    for chunk in chunks:
        units = (chunk[:, 0] >> np.uint64(ID_BITS)).astype(np.int64)
        numbers = (chunk[:, 0] & np.uint64((1 << ID_BITS) - 1)).astype(np.int64)
        heads = np.flatnonzero(np.r_[True, units[1:] != units[:-1]])
        for begin, end in zip(heads.tolist(), [*heads[1:].tolist(), len(chunk)], strict=True):
            unit = int(units[begin])
            rows = np.memmap(rows_path(folder, unit), "<u8", "r")[numbers[begin:end]]
            yield np.full(end - begin, file_of[unit], np.uint64), np.asarray(rows, np.uint64), chunk[begin:end, 1]
