"""Several processes that train one network: who they are, how their numbers are added, how they are started.

Ranks hold equal weights and different slices of each global batch. Each divides its losses by the counts of the whole global
batch, so the sum of all ranks' gradients, not their mean, is the gradient; it is taken once a step, after the last
micro-batch, over one flat buffer.

`python -m paddle.distributed.launch` cannot start a module, so `launch` starts ``python -m pretrain.run`` itself, with the
environment variables that paddle's fleet expects. The parent computes nothing: it passes signals on, and when a child fails
it ends the others. Fleet is initialised for a single process too: there is one path through the code.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain.errors import LaunchError
from shards.errors import UsageError

SPAWNED = "WORDLOOM_LAUNCHER_PID"  # set for the children of `launch`: the process id of their parent
_GRACE_S = 20.0
_POLL_S = 0.05
_LIMB_BITS = 32
_LIMBS = 4


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of a run; `rank` is this one's number in 0 … size − 1, `local_rank` its number on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the sum over all ranks of an int64 or float64 array."""
        if self.size == 1:
            return values
        import paddle

        tensor = paddle.to_tensor(values)
        paddle.distributed.all_reduce(tensor)
        total: npt.NDArray[Any] = tensor.numpy()
        return total

    def sum_modulo_2_128(self, values: Sequence[int]) -> list[int]:
        """Return the sums over all ranks of integers in [0, 2¹²⁸), modulo 2¹²⁸."""
        if self.size == 1:
            return list(values)
        limbs = [[value >> (_LIMB_BITS * i) & 0xFFFFFFFF for i in range(_LIMBS)] for value in values]
        sums = self.sum(np.array(limbs, np.int64)).tolist()
        return [sum(limb << (_LIMB_BITS * i) for i, limb in enumerate(row)) % (1 << 128) for row in sums]

    def sum_in_place(self, tensors: Sequence[Any]) -> None:
        """Replace each float32 tensor by its sum over all ranks, with one collective operation over a flat buffer."""
        if self.size == 1:
            return
        import paddle

        with paddle.no_grad():
            flat = paddle.concat([t.flatten() for t in tensors])
            paddle.distributed.all_reduce(flat)
            parts = paddle.split(flat, [int(t.size) for t in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                paddle.assign(part.reshape(tensor.shape), tensor)


def world_of_environment(environment: Mapping[str, str] = os.environ) -> World:
    """Return the place in the group that a launcher gave this process; alone without a launcher. Raises UsageError."""
    try:
        rank, size = int(environment.get("PADDLE_TRAINER_ID", "0")), int(environment.get("PADDLE_TRAINERS_NUM", "1"))
        local_rank = int(environment.get("PADDLE_LOCAL_RANK", rank))
        local_size = int(environment.get("PADDLE_LOCAL_SIZE", size))
    except ValueError:
        raise UsageError("PADDLE_TRAINER_ID, PADDLE_TRAINERS_NUM and PADDLE_LOCAL_… must be numbers") from None
    if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
        raise UsageError(f"PADDLE_TRAINER_ID is {rank} of {size} processes, {local_rank} of {local_size} on this machine")
    return World(rank=rank, size=size, local_rank=local_rank, local_size=local_size)


def start_fleet(world: World, device: str) -> None:
    """Initialise paddle's fleet for this process; `device` is ``cpu`` or ``gpu:<number>``.

    With one group of all ranks: fleet's hybrid topology would make another, and each gloo group of paddle 3.3 looks for its peers
    under the same keys of the store, where it may find those of the group before (docs/adr/0015).
    """
    if world.size > 1:
        on_gpu = device.startswith("gpu")
        os.environ.setdefault("PADDLE_DISTRI_BACKEND", "nccl" if on_gpu else "gloo")
        if on_gpu:
            os.environ.setdefault("FLAGS_selected_gpus", device.partition(":")[2])
    with _stderr_muted(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddle.distributed import fleet

        strategy = fleet.DistributedStrategy()
        strategy.heter_ccl_mode = True  # data parallelism only: no further groups
        fleet.init(is_collective=True, strategy=strategy, log_level="WARNING")


@contextmanager
def _stderr_muted() -> Iterator[None]:
    """Keep paddle's notes on flags and groups off the terminal; they are written from C++. Errors still come as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


TRAINING = "pretrain.run"


def launch(arguments: Sequence[str], *, processes: int, module: str = TRAINING) -> int:
    """Run ``python -m module`` in `processes` processes of this machine; return the exit code of the first to fail, or 0.

    SIGINT and SIGTERM are passed on. Children run in sessions of their own, so that a Ctrl-C in the terminal reaches them once,
    through here; they end by themselves when this process is killed.
    """
    ports = _free_ports(processes + 1)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=_environment(rank, ports),
            start_new_session=True,
        )
        for rank in range(processes)
    ]

    def forward(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _wait_for(children)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all to end, and return the first exit code that is not 0.

    Once one has failed the others wait for it in a collective operation for ever: they are left to be killed, after a moment
    to save when the failure is a signal that all were sent. Raises LaunchError for a process that something else killed.
    """
    first_failure, deadline = 0, float("inf")
    while time.monotonic() < deadline:
        codes = [child.poll() for child in children]
        for rank, code in enumerate(codes):
            if code is not None and code < 0:
                raise LaunchError(
                    f"process {rank} of {len(codes)} was killed by signal {-code}",
                    hint="Lack of memory is the usual reason. The same command goes on from the last checkpoint",
                )
        if not first_failure and (failed := [code for code in codes if code]):
            first_failure = failed[0]
            stopping = first_failure in (128 + signal.SIGINT, 128 + signal.SIGTERM)
            deadline = time.monotonic() + (_GRACE_S if stopping else _POLL_S)
        if all(code is not None for code in codes):
            break
        time.sleep(_POLL_S)
    return first_failure


def _environment(rank: int, ports: Sequence[int]) -> dict[str, str]:
    processes = len(ports) - 1
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    return dict(os.environ) | {
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(processes),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints[:processes]),
        "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
        "PADDLE_MASTER": endpoints[processes],
        SPAWNED: str(os.getpid()),
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
