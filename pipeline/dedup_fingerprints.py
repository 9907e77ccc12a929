"""The first half of deduplication, a task for each unit: documents → sorted runs of fingerprints in the work folder.

A document's id is unit index << 40 | its number among the unit's documents that the stages let through, so that ids ascend by
(file, row).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.documents import Document, Ledger
from pipeline.external_sort import sort_records, write_run
from pipeline.guard import Guard
from pipeline.minhash import band_keys, signatures
from pipeline.stages import apply, make_stages
from pipeline.units import Unit, read_unit, unit_format
from shards.durable import HashedFile, commit_stream

ID_BITS = 40
_BATCH_DOCUMENTS = 1 << 14
_BATCH_CHARACTERS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Shingling:
    """How near duplicates are looked for: MinHash permutations, characters a shingle, and how signatures are cut into bands."""

    permutations: int
    width: int
    bands: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class UnitFingerprints:
    """What one unit wrote: names of runs of (hash, hash, id) and of (band key, hash, id)."""

    index: int
    documents: int
    exact: tuple[str, ...]
    near: tuple[str, ...]


class Fingerprinter:
    """Writes the fingerprints of units; what a worker makes once."""

    def __init__(
        self, stages: Sequence[Mapping[str, Any]], stage_folder: Path, folder: Path, shingling: Shingling | None, on_error: str
    ) -> None:
        self._stages = make_stages(stages, stage_folder)
        self._folder, self._shingling, self._on_error = folder, shingling, on_error

    def __call__(self, unit: Unit) -> UnitFingerprints:
        """Write one unit's runs, rows and signatures. Raises InputError, StorageError and StageError."""
        guard = Guard(unit.path, self._on_error)
        with guard.whole("fingerprints", unit.first_row):
            return self._fingerprints(unit, self._documents(unit, guard))

    def _fingerprints(self, unit: Unit, documents: Iterator[tuple[int, str]]) -> UnitFingerprints:
        exact: list[str] = []
        near: list[str] = []
        count = 0
        with ExitStack() as stack:
            rows = stack.enter_context(commit_stream(rows_path(self._folder, unit.index)))
            signs = stack.enter_context(commit_stream(signatures_path(self._folder, unit.index))) if self._shingling else None
            for number, batch in enumerate(_batches(documents)):
                ids = np.arange(count, count + len(batch), dtype=np.uint64) + np.uint64(unit.index << ID_BITS)
                rows.write(np.array([row for row, _ in batch], "<u8").tobytes())
                hashes = np.array([_hash(text) for _, text in batch], "<u8").reshape(-1, 2)
                exact.append(f"unit-{unit.index:06d}-{number:04d}.exact")
                write_run(self._folder / exact[-1], sort_records(np.column_stack([hashes, ids]).astype(np.uint64)))
                if self._shingling is not None and signs is not None:
                    near.append(f"unit-{unit.index:06d}-{number:04d}.near")
                    self._write_near(near[-1], [text for _, text in batch], hashes[:, 0].astype(np.uint64), ids, signs)
                count += len(batch)
        return UnitFingerprints(index=unit.index, documents=count, exact=tuple(exact), near=tuple(near))

    def _documents(self, unit: Unit, guard: Guard) -> Iterator[tuple[int, str]]:
        """Yield (row of the first line before any stage, text after all) of each document that the stages let through.

        Documents that begin in one row have one name: they are compared as one text, and stay or go together.
        """
        documents = guard.reader(unit_format(unit).documents(read_unit(unit), unit.first_row, Ledger()), unit.first_row)
        stages = guard.stages(self._stages)
        for row, group in groupby(documents, lambda document: document.rows[0]):
            results = (apply(document, stages)[0] for document in group)
            if texts := [result.text for result in results if isinstance(result, Document)]:
                yield row, "\n\n".join(texts)

    def _write_near(self, name: str, texts: list[str], hashes: Any, ids: Any, signs: HashedFile) -> None:
        shingling = self._shingling
        assert shingling is not None
        signature = signatures(texts, shingling.permutations, shingling.width)
        signs.write(signature.astype("<u2").tobytes())  # the low half: two texts agree there by chance once in 65,536 times
        keys = band_keys(signature, shingling.bands, shingling.rows)
        records = np.column_stack([keys.ravel(), np.repeat(hashes, shingling.bands), np.repeat(ids, shingling.bands)])
        write_run(self._folder / name, sort_records(records))


def rows_path(folder: Path, index: int) -> Path:
    return folder / f"unit-{index:06d}.rows"


def signatures_path(folder: Path, index: int) -> Path:
    return folder / f"unit-{index:06d}.signatures"


def _hash(text: str) -> tuple[int, int]:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _batches(documents: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    characters = 0
    for row, text in documents:
        batch.append((row, text))
        characters += len(text)
        if len(batch) >= _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
