"""Commands run as a user runs them: a fresh process, its exit code, its last line, its words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.out.splitlines()[-1])
        assert isinstance(value, dict)
        return value


def run(module: str, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 250) -> Ran:
    """Run ``python -m module arguments`` in `cwd`, without a network and without this machine's data folders."""
    environment = {k: v for k, v in os.environ.items() if k not in ("WORDLOOM_DATA",)}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)} | dict(env or {})
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def error_of(ran: Ran, code: int, *words: str) -> None:
    """Check that a command failed the way all do: its exit code, one line that says why, no traceback, nothing on stdout."""
    assert ran.code == code, ran
    assert "Traceback" not in ran.err, ran.err
    line = ran.err.strip().splitlines()[-1]
    assert line.startswith("error: "), ran.err
    for word in words:
        assert word in line, (word, line)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def flags(parser: object) -> Sequence[str]:
    """Return the sorted long flags of a parser."""
    actions = getattr(parser, "_actions")  # noqa: B009 - argparse has no public list of them
    return sorted(s for a in actions for s in a.option_strings if s.startswith("--"))
