"""Paddle's start in a process of ours."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.helpers.commands import ROOT

_BUSY = """
from pretrain.environment import start
start("cpu")
import paddle
print("up", flush=True)
while True:
    paddle.ones([1000]).sum()
"""


def test_sigterm_ends_a_process_that_has_no_handler_of_its_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _BUSY], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        _, err = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGTERM
    assert "FatalError" not in err
