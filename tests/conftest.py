"""The order of the tests: folders with long files first, so that two processes that share them end together."""

from __future__ import annotations

import pytest

_LONG = ("e2e", "determinism", "faults", "parity")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in _LONG)
