"""Everything about a process that must be right before paddle is imported, in one place; and the choice of a device.

`start` is what every command that trains or evaluates calls first. What it decides, and why, comes back as sentences to print.

1. Threads: OMP_NUM_THREADS = max(1, cores // processes of this machine), the cores being those this process may use.
2. On AMD processors MKL_DEBUG_CPU_TYPE=5: the matrix library inside paddle takes a slow path there otherwise.
3. glibc is told to keep freed memory (`shards.allocator`): worth a factor of two to four on memory-bound operators.
4. paddle's own signal handlers are taken out: they allocate memory inside a handler, so a SIGTERM could hang a process for good.
5. paddle announces its thread settings and looks for a compiler cache when imported: that is kept off the terminal.

A variable that the user has set is left as it is.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pretrain.errors import DeviceError
from shards.allocator import keep_freed_memory
from shards.errors import NotFoundError, UsageError

DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True, kw_only=True)
class Started:
    """What was chosen: the device as paddle names it (``cpu``, ``gpu:0``), and the reasons, one sentence each."""

    device: str
    reasons: tuple[str, ...]


def start(
    device: str = "auto", *, local_ranks: int = 1, local_rank: int = 0, say: Callable[[str], None] | None = None
) -> Started:
    """Prepare this process, import paddle and select a device.

    `local_ranks` counts the training processes of this machine, `local_rank` is this one's number; a GPU is chosen by it.
    Reasons also go to `say`. Raises DeviceError for a GPU that is not there, UsageError for an unknown device,
    NotFoundError when paddle is not installed.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}", expected=", ".join(DEVICES))
    if not 0 <= local_rank < local_ranks:
        raise UsageError(f"local rank {local_rank} of {local_ranks} processes makes no sense")
    reasons = prepare(local_ranks=local_ranks)
    is_first = "paddle" not in sys.modules
    with _quiet_import():
        try:
            importlib.import_module("paddle")
        except ModuleNotFoundError as error:
            if error.name != "paddle":
                raise
            raise NotFoundError("paddle is not installed", hint="pip install 'wordloom[cpu]', or see README for GPUs") from None
    if is_first:  # later on it would take out ours
        sys.modules["paddle"].disable_signal_handler()
    chosen, reason = _select(device, local_rank)
    started = Started(device=chosen, reasons=(*reasons, reason))
    if say is not None:
        for line in started.reasons:
            say(line)
    return started


def prepare(*, local_ranks: int = 1) -> tuple[str, ...]:
    """Set variables and allocator, without importing paddle; return the reasons. Safe to call again."""
    if "paddle" in sys.modules:
        return ("threads and kernels: left as they are, paddle was imported before",)
    cores = available_cores()
    threads = max(1, cores // local_ranks)
    of_ranks = "one process" if local_ranks == 1 else f"{local_ranks} processes"
    reasons = [_set("OMP_NUM_THREADS", str(threads), f"{cores} cores for {of_ranks}")]
    if is_amd():
        reasons.append(_set("MKL_DEBUG_CPU_TYPE", "5", "AMD processor: without it paddle's matrix library takes a slow path"))
    reasons.append(keep_freed_memory())
    return tuple(reasons)


def available_cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_amd(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor is AMD's."""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            return any(line.startswith("vendor_id") and "AuthenticAMD" in line for line in file)
    except OSError:
        return "AuthenticAMD" in platform.processor()


def _set(name: str, value: str, reason: str) -> str:
    if name in os.environ:
        return f"{name}={os.environ[name]} (set by the user)"
    os.environ[name] = value
    return f"{name}={value} ({reason})"


@contextmanager
def _quiet_import() -> Iterator[None]:
    # At the level of file descriptors: some of it is written from C++. Should the import fail, all of it is shown.
    if "paddle" in sys.modules:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        try:
            os.dup2(swallowed.fileno(), 1)
            os.dup2(swallowed.fileno(), 2)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(kept[0], 1)
                os.dup2(kept[1], 2)
        except BaseException:
            swallowed.seek(0)
            sys.stderr.write(swallowed.read().decode(errors="replace"))
            raise
        finally:
            os.close(kept[0])
            os.close(kept[1])


def _select(device: str, local_rank: int) -> tuple[str, str]:
    import paddle

    built = bool(paddle.is_compiled_with_cuda())
    count = int(paddle.device.cuda.device_count()) if built else 0
    if device == "gpu" and not built:
        raise DeviceError(
            "a GPU was asked for, but this build of paddle has no GPU support",
            expected="paddlepaddle-gpu",
            got=f"paddlepaddle {paddle.__version__}",
            hint="Install the GPU build (see README), or pass --device cpu",
        )
    if device == "gpu" and local_rank >= count:
        raise DeviceError(
            "a GPU was asked for that paddle cannot see", expected=f"GPU number {local_rank}", got=f"{count} GPUs",
            hint="Look at nvidia-smi and CUDA_VISIBLE_DEVICES, start fewer processes, or pass --device cpu",
        )  # fmt: skip
    if device == "cpu" or local_rank >= count:
        why = "asked for" if device == "cpu" else "no GPU is visible" if built else "this build of paddle has no GPU support"
        paddle.set_device("cpu")
        return "cpu", f"device: cpu ({why})"
    chosen = f"gpu:{local_rank}"
    paddle.set_device(chosen)
    return chosen, f"device: {chosen} ({'asked for' if device == 'gpu' else f'{count} visible'})"
