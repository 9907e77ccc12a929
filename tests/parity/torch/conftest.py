"""What needs torch and transformers: `make parity` runs it in an environment of its own; elsewhere nothing here is collected."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from pretrain.compare_report import TITLE, Row

collect_ignore_glob = [] if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers") else ["test_*.py"]
_ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[Row]:
    """Differences added here are printed as one table at the end."""
    return request.config.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section("differences from transformers, float32")
        for line in (TITLE, *rows):
            terminalreporter.write_line(str(line))
