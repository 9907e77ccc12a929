"""What a manifest notes in `made`, outside of its fingerprint: rows that rules changed, and input that nobody read.

rows_changed: rule → ``{"rows": number, "places": the first as file:row}``, whatever became of those rows afterwards. skipped: an
archive, a member or a folder → kind → number of files or members passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.documents import BYTE_ORDER_MARK, MAX_REJECTS_PER_REASON

MAX_SKIPPED_PATHS = 200
OTHERS = "(others)"  # stands for the paths beyond that many

Changes = dict[str, dict[str, Any]]
Skipped = dict[str, dict[str, int]]


def marks_taken_off(paths: Iterable[str]) -> Changes:
    """Return the note of files whose byte order mark went before their rows were read."""
    places = [f"{path}:1" for path in paths]
    return {BYTE_ORDER_MARK: {"rows": len(places), "places": places[:MAX_REJECTS_PER_REASON]}} if places else {}


def added_changes(notes: Iterable[Mapping[str, Mapping[str, Any]]]) -> Changes:
    """Return notes of `rows_changed` added up; places keep their first."""
    total: Changes = {}
    for note in notes:
        for rule, found in note.items():
            entry = total.setdefault(rule, {"rows": 0, "places": []})
            entry["rows"] += found["rows"]
            entry["places"] += found["places"][: MAX_REJECTS_PER_REASON - len(entry["places"])]
    return dict(sorted(total.items()))


def merged_skipped(*notes: Mapping[str, Mapping[str, int]]) -> Skipped:
    """Return notes of `skipped` as one. A path that was looked at again counts once, as it is now; memory is bounded."""
    known: Skipped = {}
    others: Counter[str] = Counter()
    for note in notes:
        for path, kinds in note.items():
            if path != OTHERS and (path in known or len(known) < MAX_SKIPPED_PATHS):
                known[path] = dict(sorted(kinds.items()))
            else:
                others.update(kinds)
    return known | ({OTHERS: dict(sorted(others.items()))} if others else {})


def read_changes(made: Mapping[str, Any]) -> Changes | None:
    """Return `rows_changed` of a manifest, None where it says nothing of the kind; nobody has checked `made` before."""
    noted = made.get("rows_changed")
    if not isinstance(noted, Mapping):
        return None
    return {
        str(rule): {"rows": found["rows"], "places": [str(place) for place in found["places"]]}
        for rule, found in noted.items()
        if isinstance(found, Mapping) and _is_count(found.get("rows")) and isinstance(found.get("places"), list)
    }


def read_skipped(made: Mapping[str, Any]) -> Skipped:
    """Return `skipped` of a manifest, empty where it says nothing of the kind."""
    noted = made.get("skipped")
    if not isinstance(noted, Mapping):
        return {}
    return {
        str(path): {str(kind): count for kind, count in kinds.items() if _is_count(count)}
        for path, kinds in noted.items()
        if isinstance(kinds, Mapping)
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def in_words(counts: Mapping[str, int]) -> str:
    """Return numbers by kind as a list: ``2 hidden, 1 link``."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def total_of(skipped: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the numbers by kind of all paths."""
    total: Counter[str] = Counter()
    for kinds in skipped.values():
        total.update(kinds)
    return dict(sorted(total.items()))
