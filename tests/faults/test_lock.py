"""Two builders never hold one folder; a dead one does not block it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shards.errors import LockedError
from shards.lock import exclusive

HOLD = "import sys; from pathlib import Path; from shards.lock import exclusive\nwith exclusive(Path(sys.argv[1])):\n print('held', flush=True); sys.stdin.read()"


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / ".set.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=rf"\.set\.lock: locked by pid {holder.pid} on host .* since 20"), exclusive(lock):
            raise AssertionError("held twice")
        holder.communicate()
    with exclusive(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_the_lock_of_a_killed_build_is_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / ".set.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        holder.kill()
    assert lock.exists()
    with exclusive(lock):
        assert f"took over the lock of a process that died: pid {holder.pid}" in capsys.readouterr().out


def test_the_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    lock = tmp_path / ".set.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "not-" + socket.gethostname(), "since": "2026-01-01"}))
    with pytest.raises(LockedError, match="delete the file"), exclusive(lock):
        raise AssertionError("held twice")


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    lock = tmp_path / ".set.lock"
    script = (
        "import sys, time; from pathlib import Path; from shards.lock import exclusive; from shards.errors import LockedError\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "  with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.readline()\n"
        "except LockedError: print('refused', flush=True)"
    )
    builders = [
        subprocess.Popen([sys.executable, "-c", script, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("go\n")
        builder.stdin.flush()
    said = [builder.stdout.readline().strip() for builder in builders if builder.stdout is not None]
    for builder in builders:
        builder.communicate()
    assert sorted(said) == ["held"] + ["refused"] * 5
