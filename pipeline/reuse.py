"""Units that need not be built, because an earlier build left them: in its work folder, or in the data set it committed.

A unit's key is a hash of everything that its bytes depend on: its text, where it stands (shards hold the number of the file
and the row, so a unit is good only for the same number and row), language and format, the tokenizer, and those parts of the
recipe that reach it. A unit whose key is known is taken over when its shards still are, byte for byte, what was recorded of
them. So a change of one input file rebuilds the units of that file from the changed byte on, and no other.

Beside each committed data set lies ``units-<hash8>.jsonl``, one line a unit: ``{"key": …, "report": …}``. It is a note of the
builder to itself, hashed in ``made.units``; without it everything is rebuilt, and nothing else is lost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.recipe import Recipe
from pipeline.unit import UnitReport
from pipeline.units import Unit
from shards.canonical import canonical_json, fingerprint, parse_json_object
from shards.errors import FormatError, NotFoundError, StorageError
from shards.manifest import Manifest, shard_name
from shards.storage import Storage

WORK_PREFIX = ".build-"
_KEY_VERSION = 1
# Which corpus a text counts as, where units are cut and how a vocabulary came about reach no shard but through the unit's
# bytes, its language and the tokenizer's hash. Units in which nothing failed are the same whatever the answer to errors.
_NOT_IN_UNITS = ("corpus", "lang", "unit_bytes", "tokenizer", "on_error")
_UNITS_FILE = re.compile(r"units-[0-9a-f]{8}\.jsonl")


def unit_keys(units: Sequence[Unit], recipe: Recipe, tokenizer_hash: str, context: str) -> list[str]:
    """Return the key of each unit; `context` is the hash of what else they depend on (which documents are duplicates)."""
    parts = {name: value for name, value in recipe.to_json_object().items() if name not in _NOT_IN_UNITS}
    common = fingerprint([_KEY_VERSION, parts, tokenizer_hash, context])
    return [fingerprint([common, u.file_index, u.first_row, u.lang, u.format, u.sha256]) for u in units]


def committed_units(storage: Storage, manifest: Manifest | None) -> dict[str, UnitReport]:
    """Return key → report of the units of a committed data set; whether their shards are still whole is not looked at."""
    noted = manifest.made.get("units") if manifest is not None else None
    if not isinstance(noted, dict) or not _UNITS_FILE.fullmatch(str(noted.get("file"))):
        return {}
    try:
        data = storage.read(noted["file"])
    except (NotFoundError, StorageError, OSError):
        return {}
    if hashlib.sha256(data).hexdigest() != noted.get("sha256"):
        return {}
    return _by_key(json.loads(line) for line in data.splitlines())


def unfinished_units(storage: Storage) -> dict[str, UnitReport]:
    """Return key → report of the units that stopped builds finished."""
    return _by_key(_work_reports(storage))


def _work_reports(storage: Storage) -> Iterator[dict[str, Any]]:
    for work in [name for name in storage.names() if name.startswith(WORK_PREFIX)]:
        for name in [n for n in storage.names(work) if n.startswith("unit-") and n.endswith(".json")]:
            try:
                yield parse_json_object(storage.read(f"{work}/{name}"), name)
            except (NotFoundError, FormatError, StorageError, OSError):
                continue


def _by_key(values: Iterable[dict[str, Any]]) -> dict[str, UnitReport]:
    found: dict[str, UnitReport] = {}
    for value in values:
        try:
            found[str(value["key"])] = UnitReport.from_json_object(value["report"])
        except (KeyError, TypeError, AttributeError):  # written by another version
            continue
    return found


def take_over(storage: Storage, unit: Unit, report: UnitReport, hash8: str) -> UnitReport | None:
    """Give the shards of a unit built earlier the names they have in this build; None when they are no longer whole."""
    for shard in report.shards:
        digest = storage.digest(shard.file)
        if digest is None or (digest.sha256, digest.size) != (shard.sha256, shard.bytes):
            return None
    shards = []
    for shard in report.shards:
        name = shard_name(shard.split, hash8, unit.index)
        if name != shard.file:
            storage.copy(shard.file, name)
        shards.append(dataclasses.replace(shard, file=name))
    return dataclasses.replace(report, index=unit.index, shards=tuple(shards))


def store_report(storage: Storage, work: str, key: str, report: UnitReport) -> None:
    """Note that a unit is finished, so that a build that is stopped finds it again.

    Whoever finds it checks the shards it names, and can do without it: it is not worth waiting for the disk.
    """
    value = canonical_json({"key": key, "report": report.to_json_object()})
    storage.write(f"{work}/unit-{report.index:05d}.json", value, settled=False)


def store_units(storage: Storage, hash8: str, units: Mapping[str, UnitReport]) -> dict[str, str]:
    """Write the note of all units of a data set; return what its manifest records of it."""
    lines = (canonical_json({"key": key, "report": report.to_json_object()}) + b"\n" for key, report in units.items())
    name = f"units-{hash8}.jsonl"
    return {"file": name, "sha256": storage.write(name, b"".join(lines)).sha256}
