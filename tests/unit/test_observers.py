"""A bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from pretrain.observers import FOLDER, Observers


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stderr", "active", "shown"), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_a_bar_is_shown_on_a_terminal_by_the_first_process_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: type[io.StringIO], active: bool, shown: bool
) -> None:
    screen = stderr()
    monkeypatch.setattr(sys, "stderr", screen)
    observers = Observers(tmp_path, step=3, last_step=10, active=active)
    observers.advance(8, 2.5)
    observers.close()
    assert ("3/10" in screen.getvalue()) == shown
    assert not (tmp_path / FOLDER).exists(), "dashboards are made for the first figures"
