"""``name=weight,…``: the shares of a mixture as they are typed."""

from __future__ import annotations

import math

from shards.errors import UsageError


def parse_mix(text: str) -> dict[str, float]:
    """Return name → weight of ``name=weight,…``. Raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.strip().rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not equals or not name or not (math.isfinite(weight) and weight > 0):
            raise UsageError("--mix takes name=weight,… with weights above 0", got=repr(part.strip()))
        if name in weights:
            raise UsageError(f"--mix names {name!r} twice")
        weights[name] = weight
    return weights
