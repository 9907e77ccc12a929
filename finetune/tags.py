"""Tags of words in the BIO scheme, and the entities they spell.

``B-X`` begins an entity of type X, ``I-X`` goes on with it, ``O`` is outside. As conlleval (Tjong Kim Sang and De Meulder 2003)
reads them: an ``I-X`` that follows no X begins one. BIOES and BMES files are read as BIO (S begins, M and E go on).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

OUTSIDE = "O"
_PREFIXES = {"B": "B", "S": "B", "I": "I", "M": "I", "E": "I"}

I64 = npt.NDArray[np.int64]


def bio(tag: str) -> str | None:
    """Return a tag in the BIO scheme, None for what is no tag."""
    if tag == OUTSIDE:
        return tag
    prefix, dash, kind = tag.partition("-")
    return f"{_PREFIXES[prefix]}-{kind}" if dash and kind and prefix in _PREFIXES else None


def labels_of(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the labels of a tagging task with these entity types: O, then B and I of each."""
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in sorted(set(kinds)) for prefix in "BI"))


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, begin, end) of each entity, [begin, end) counting words."""
    found: list[tuple[str, int, int]] = []
    kind, begin = "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, this = tag.partition("-")
        if kind and (prefix != "I" or this != kind):
            found.append((kind, begin, place))
            kind = ""
        if prefix != OUTSIDE and not kind:
            kind, begin = this, place
    return found


def entity_figures(rows: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    """Return precision, recall and F1 of the entities of all rows together, each row (predicted tags, true tags).

    An entity counts as found when type, first and last word are all right. What is undefined is 0.
    """
    hits = predicted = true = 0
    for guess, truth in rows:
        guessed, given = set(entities(guess)), set(entities(truth))
        hits += len(guessed & given)
        predicted += len(guessed)
        true += len(given)
    return {
        "f1": 2.0 * hits / (predicted + true) if predicted + true else 0.0,
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / true if true else 0.0,
    }
