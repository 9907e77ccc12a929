"""How many workers a machine, or the container on it, holds by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import machine


@pytest.mark.parametrize(
    ("texts", "workers"),
    [
        ([], 8),
        (["max\n"], 8),
        (["3221225472\n"], 3),
        (["max\n", "2147483648\n"], 2),
        (["9223372036854771712\n"], 8),
        (["1048576\n"], 1),
    ],
)
def test_workers_are_those_that_the_memory_of_a_container_holds(
    texts: list[str], workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [tmp_path / "memory.max", tmp_path / "limit_in_bytes"]
    for limit, text in zip(limits, texts, strict=False):
        limit.write_text(text)
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", tuple(limits))
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else (64 << 30) // 4096)
    assert machine.default_workers(1 << 30) == workers
