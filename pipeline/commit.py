"""From the reports of all units to a manifest; and what goes when it is committed, or when there is nothing to commit."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import shards
from pipeline.documents import MAX_REJECTS_PER_REASON
from pipeline.errors import EmptyCorpusError
from pipeline.guard import MAX_LISTED
from pipeline.made_notes import added_changes, marks_taken_off, merged_skipped, read_changes, read_skipped
from pipeline.recipe import Recipe
from pipeline.reuse import WORK_PREFIX
from pipeline.unit import MAX_UNKNOWN, UnitReport, UnitShard
from pipeline.units import Plan
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, Tally, TokenizerEntry
from shards.odometer import shard_odometer, to_hex
from shards.storage import Storage

OURS = ("train-", "heldout-", "tokenizer-", "units-", WORK_PREFIX)
# What an append adds up in `made`; anything else there tells of the last build.
_SUMS = ("elapsed_s", "unit_seconds", "retries")
_COUNTS = ("stage_seconds", "unknown_characters")


def make_manifest(
    plan: Plan, recipe: Recipe, plan_hash: str, tokenizer: TokenizerEntry, reports: Sequence[UnitReport], made: Mapping[str, Any],
    base: Manifest | None,
) -> Manifest:  # fmt: skip
    """Return the manifest of a data set whose units are `reports`; with `base`, those come after what it has.

    Raises EmptyCorpusError when nothing is left to train on.
    """
    files = [shard for split in ("train", "heldout") for report in reports for shard in report.shards if shard.split == split]
    tally = _tally(reports)
    # A data set needs something to train on; what is added to one may be held out as a whole.
    if not any(shard.split == "train" or base is not None for shard in files):
        raise EmptyCorpusError(
            "no document is left to train on", got=json.dumps({"read": tally.read, "dropped": dict(tally.dropped),
            "rows_dropped": dict(tally.rows_dropped)}),
            hint="Is it the right --corpus and --input? A smaller --heldout keeps more for training",
        )  # fmt: skip
    before = base.shards if base is not None else ()
    all_made = _made(plan, reports, made)
    return Manifest(
        recipe=recipe.to_json_object(),
        corpus=plan.corpus,
        tokenizer=tokenizer,
        shards=before + tuple(_shard_entry(index, shard) for index, shard in enumerate(files, len(before))),
        length_histogram=_added(base.length_histogram if base is not None else {}, *(r.histogram for r in reports)),
        tally=tally if base is None else _joined(base.tally, tally),
        tag=plan_hash[:16] if base is None else base.tag,
        made=all_made if base is None else _merged_made(base.made, all_made),
    )


def _shard_entry(index: int, shard: UnitShard) -> ShardEntry:
    return ShardEntry(
        file=shard.file, split=shard.split, rows=shard.rows, tokens=shard.tokens, bytes=shard.bytes, sha256=shard.sha256,
        odometer=to_hex(shard_odometer(index, shard.rows)),
    )  # fmt: skip


def _tally(reports: Iterable[UnitReport]) -> Tally:
    def total(counts: list[dict[str, Any]]) -> tuple[int, int, dict[str, int]]:
        return sum(c["read"] for c in counts), sum(c["kept"] for c in counts), _added(*(c["dropped"] for c in counts))

    both = [(report.documents, report.rows) for report in reports]
    read, kept, dropped = total([documents for documents, _ in both])
    rows_read, rows_kept, rows_dropped = total([rows for _, rows in both])
    return Tally(read=read, kept=kept, dropped=dropped, rows_read=rows_read, rows_kept=rows_kept, rows_dropped=rows_dropped)


def _joined(a: Tally, b: Tally) -> Tally:
    return Tally(
        read=a.read + b.read, kept=a.kept + b.kept, dropped=_added(a.dropped, b.dropped), rows_read=a.rows_read + b.rows_read,
        rows_kept=a.rows_kept + b.rows_kept, rows_dropped=_added(a.rows_dropped, b.rows_dropped),
    )  # fmt: skip


def _added(*counts: Mapping[str, Any]) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _made(plan: Plan, reports: Sequence[UnitReport], made: Mapping[str, Any]) -> dict[str, Any]:
    paths = {unit.index: plan.corpus[unit.file_index].path for unit in plan.units}
    rejects: dict[str, list[str]] = {}
    quarantine: list[dict[str, str]] = []
    for report in reports:
        path = paths[report.index]
        for reason, rows in report.rejects.items():
            sample = rejects.setdefault(reason, [])
            sample += [f"{path}:{row}" for row in rows][: MAX_REJECTS_PER_REASON - len(sample)]
        listed = report.quarantined[: MAX_LISTED - len(quarantine)]
        quarantine += [{"where": f"{path}:{q['row']}", "stage": q["stage"], "error": q["error"]} for q in listed]
    return {
        "version": shards.__version__,
        "python": platform.python_version(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "unit_seconds": round(sum(report.elapsed_s for report in reports), 3),
        "stage_seconds": {name: round(seconds, 3) for name, seconds in _added(*(r.seconds for r in reports)).items()},
        "unknown_characters": dict(Counter(_added(*(r.unknown for r in reports))).most_common(MAX_UNKNOWN)),
        "worker_peak_bytes": max((report.peak_bytes for report in reports), default=0),
        "input_bytes": sum(entry.size for entry in plan.corpus),
        "rejects": rejects,
        "quarantine": quarantine,
        "rows_changed": added_changes(
            [*(_changed(report, paths[report.index]) for report in reports), marks_taken_off(plan.marked)]
        ),
        **made,
    }


def _changed(report: UnitReport, path: str) -> dict[str, dict[str, Any]]:
    return {
        rule: {"rows": found["rows"], "places": [f"{path}:{row}" for row in found["first"]]}
        for rule, found in report.changed.items()
    }


def _merged_made(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return `now` with what adds up added to what a data set had before; samples of places keep their first."""
    merged = dict(now)
    merged["appends"] = int(before.get("appends", 0)) + 1
    for name in _SUMS:
        merged[name] = round(before.get(name, 0) + now.get(name, 0), 3)
    for name in _COUNTS:
        if name in before or name in now:
            merged[name] = _added(before.get(name, {}), now.get(name, {}))
    old_rejects, new_rejects = before.get("rejects", {}), now["rejects"]
    merged["rejects"] = {
        reason: (old_rejects.get(reason, []) + new_rejects.get(reason, []))[:MAX_REJECTS_PER_REASON]
        for reason in [*old_rejects, *(reason for reason in new_rejects if reason not in old_rejects)]
    }
    merged["rows_changed"] = added_changes([read_changes(before) or {}, now["rows_changed"]])
    merged["skipped"] = merged_skipped(read_skipped(before), read_skipped(now))
    merged["quarantine"] = (before.get("quarantine", []) + now["quarantine"])[:MAX_LISTED]
    return merged


def delete_superseded(storage: Storage, manifest: Manifest) -> None:
    """Delete what is ours and no part of the data set: old shards, work folders."""
    noted = manifest.made.get("units")
    wanted = {entry.file for entry in manifest.shards} | {manifest.tokenizer.folder, MANIFEST_NAME}
    wanted |= {str(noted["file"])} if isinstance(noted, dict) else set()
    for name in storage.names():
        if name not in wanted and name.startswith(OURS):
            storage.remove(name)
    storage.clear_scratch()


def withdraw(storage: Storage, committed: Manifest | None) -> None:
    """Take back a build that ended with nothing to commit; a data set committed before keeps what it uses."""
    if committed is not None:
        delete_superseded(storage, committed)
        return
    damaged = MANIFEST_NAME in storage.names()
    for name in storage.names():
        if name.startswith(WORK_PREFIX if damaged else OURS):
            storage.remove(name)
    storage.clear_scratch()
    if not storage.names():
        storage.remove("")
