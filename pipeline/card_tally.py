"""The section of a data card that accounts for its input: what was read, kept, dropped, changed and passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shards import page as html
from shards.page import Html, tag

_SHOWN_PLACES, _SHOWN_PATHS = 10, 50


def tally_section(card: Mapping[str, Any]) -> Iterator[Html]:
    """Yield the tables and examples of `pipeline.card.make_card`."""
    tally = card["tally"]
    yield html.table(
        ("", "read", "kept", "dropped"),
        (
            ("documents", *_counts(tally["read"], tally["kept"], sum(tally["dropped"].values()))),
            ("rows of the input", *_counts(tally["rows_read"], tally["rows_kept"], sum(tally["rows_dropped"].values()))),
        ),
    )
    yield from _dropped(card)
    yield from _changed(card)
    yield from _skipped(card)


def _dropped(card: Mapping[str, Any]) -> Iterator[Html]:
    tally = card["tally"]
    reasons = sorted({*tally["dropped"], *tally["rows_dropped"], *card["rejects"]})
    if not reasons:
        yield tag("p", "Nothing was dropped.", cls="soft")
        return
    yield tag("h3", "Reasons")
    yield html.table(
        ("reason", "documents", "rows", "of all rows"),
        (
            (reason, *_counts(tally["dropped"].get(reason, 0), rows := tally["rows_dropped"].get(reason, 0)), _share(rows, tally))
            for reason in reasons
        ),
    )
    yield from _examples({reason: card["rejects"].get(reason, ()) for reason in reasons})


def _changed(card: Mapping[str, Any]) -> Iterator[Html]:
    yield tag("h3", "Rows changed by cleaning")
    changed = card["rows_changed"]
    if changed is None:
        yield tag("p", "The build did not count which rules changed what.", cls="soft small")
        return
    rows = ((rule, *_counts(found["rows"]), _share(found["rows"], card["tally"])) for rule, found in changed.items())
    yield html.table(("rule", "rows", "of all rows"), rows)
    yield from _examples({rule: found["places"] for rule, found in changed.items()})


def _skipped(card: Mapping[str, Any]) -> Iterator[Html]:
    skipped = card["skipped"]
    if not skipped:
        return
    yield tag("h3", "Passed over unread")
    entries = [(path, kind, count) for path, kinds in skipped.items() for kind, count in kinds.items()]
    yield html.table(
        ("where", "what", "number"),
        ((path, kind, *_counts(count)) for path, kind, count in entries[:_SHOWN_PATHS]),
        numbers_from=2,
    )
    if len(entries) > _SHOWN_PATHS:
        yield tag("p", f"and {len(entries) - _SHOWN_PATHS} more in the JSON", cls="small")


def _examples(places: Mapping[str, Sequence[str]]) -> Iterator[Html]:
    for name, some in places.items():
        if some:
            more = f" and {len(some) - _SHOWN_PLACES} more in the JSON" if len(some) > _SHOWN_PLACES else ""
            shown = html.join(html.join((tag("code", place), " ")) for place in some[:_SHOWN_PLACES])
            yield tag("p", tag("b", name), ", for example at ", shown, more, cls="small")


def _share(rows: int, tally: Mapping[str, Any]) -> str:
    return f"{rows / max(tally['rows_read'], 1):.2%}"


def _counts(*values: int) -> tuple[str, ...]:
    return tuple(f"{value:,}" for value in values)
