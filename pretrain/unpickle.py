"""The one reader of pickles: ``pytorch_model.bin`` and ``.pdparams``, asked for by ``--trust-pickle`` and never otherwise.

A pickle is a program. This one runs in a process of its own, and may name only what a state dict needs: three names of numpy
for PaddleNLP, and torch's tensors and storages; compared whole, so no dotted name and no wildcard gets by. Even these do not
stand for the real things but for stand-ins of this file, so nothing of numpy, torch or paddle can be called. While it runs the
process may not import, open, connect, compile or start anything, and its memory is bounded. What comes out is a safetensors
file, which is then checked like any other.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pretrain.errors import WeightsError

_REFUSED: Final = 3
_SPARE_BYTES: Final = 4 << 30
_NUMPY_TYPES: Final = re.compile(r"[fiu][1248]|b1")
_STORAGES: Final = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": "bfloat16", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1", "BoolStorage": "|b1",
}  # fmt: skip
_LEGACY_TORCH: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What a pickle of weights has no business to do, by the names of Python's audit events.
_FORBIDDEN: Final = (
    "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "import", "open", "exec", "compile", "marshal.", "urllib.", "ftplib.",
    "smtplib.", "sqlite3.", "pty.", "webbrowser.", "code.", "sys._getframe", "sys.set", "gc.", "builtins.", "signal.",
    "tempfile.",
)  # fmt: skip


class Refused(Exception):
    """The pickle holds something else than tensors."""


def rewritten(pickled: Path, out: Path) -> Path:
    """Write the tensors of a pickle as the safetensors file `out`, in another process; return it. Raises WeightsError."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "PYTHONSAFEPATH": "1"}
    program = "from pretrain.unpickle import child; child()"
    command = [sys.executable, "-c", program, str(pickled.resolve()), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out.parent)
    if done.returncode == _REFUSED:
        raise WeightsError(json.loads(done.stdout.splitlines()[-1])["refused"], where=pickled)
    if done.returncode != 0 or not out.is_file():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise WeightsError(f"the process that reads pickles failed: {last}", where=pickled)
    return out


def child() -> None:
    """Be the process that reads one pickle: arguments are its path and the file to write."""
    import safetensors  # noqa: F401 - now: later the process may import nothing

    from pretrain.published_files import safetensors_bytes

    pickled, out = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        data = pickled.read_bytes()
        _bound_memory(len(data))
        with _nothing_else():
            tensors, bfloat16 = read_pickled(data)
        out.write_bytes(safetensors_bytes(tensors, format="np", bfloat16=bfloat16))
    except (Refused, WeightsError) as refusal:
        print(json.dumps({"refused": str(refusal)}))
        raise SystemExit(_REFUSED) from None


def read_pickled(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], frozenset[str]]:
    """Return the tensors of a pickle, and which of them were bfloat16. Raises Refused."""
    if data.startswith(b"PK"):
        load: Callable[[], object] = _torch_archive(data)
    elif data.startswith(_LEGACY_TORCH):
        raise Refused("a file of torch before 1.6: load and save it there once, or take the model's safetensors")
    else:
        load = _Reader(data, _NUMPY_NAMES).load
    try:
        return _tensors(load())
    except Refused:
        raise
    except MemoryError:
        raise Refused("the pickle asks for more memory than its size explains") from None
    except Exception as error:  # whatever a hostile stream of bytes makes the machine of pickles raise
        raise Refused(f"not readable as tensors: {type(error).__name__}: {str(error)[:200]}") from None


class _Reader(pickle.Unpickler):
    """An unpickler that finds only the names it is given, each a stand-in of this file."""

    def __init__(
        self, data: bytes, names: Mapping[tuple[str, str], object], storage: Callable[[object], object] | None = None
    ) -> None:
        super().__init__(io.BytesIO(data))
        self._names, self._storage = names, storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise Refused(f"the pickle names {module}.{name}, which no tensor needs")
        return self._names[module, name]

    def persistent_load(self, pid: object) -> object:
        if self._storage is None:
            raise Refused("the pickle points outside of itself")
        return self._storage(pid)


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, name: object, align: object = False, copy: object = True) -> None:
        if not isinstance(name, str) or not _NUMPY_TYPES.fullmatch(name):
            raise Refused(f"a type of array that no weight has: {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise Refused("an array in another byte order")


class _NdArray:
    """Stands for numpy.ndarray, as a name only."""


class _Array:
    """Stands for an array until its state is known."""

    def __init__(self, kind: object, shape: object, typecode: object) -> None:
        if kind is not _NdArray:
            raise Refused("an array of another kind")
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple(shape), _Dtype() as dtype, bool(fortran), bytes(data)) if _is_shape(shape):
                if math.prod(shape) * dtype.dtype.itemsize != len(data):
                    raise Refused("an array whose bytes are not those of its shape")
                self.array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if fortran else "C")
            case _:
                raise Refused("an array that is not plain")


_NUMPY_NAMES: Final[Mapping[tuple[str, str], object]] = {
    (module, name): stand_in
    for module, name, stand_in in (
        ("numpy", "ndarray", _NdArray), ("numpy", "dtype", _Dtype), ("numpy.core.multiarray", "_reconstruct", _Array),
        ("numpy._core.multiarray", "_reconstruct", _Array),
    )
}  # fmt: skip


class _Storage:
    """Stands for a class of torch's storages."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class _Bytes:
    """Stands for one storage: its bytes, and its type."""

    def __init__(self, data: bytes, dtype: str) -> None:
        self.data, self.dtype = data, dtype


class _Tensor:
    """Stands for a tensor: torch's arguments of `_rebuild_tensor_v2`."""

    def __init__(
        self, storage: object, offset: object, size: object, stride: object, grad: object = False, hooks: object = None,
        more: object = None,
    ) -> None:  # fmt: skip
        if not isinstance(storage, _Bytes) or not isinstance(offset, int) or not _is_shape(size) or not _is_shape(stride):
            raise Refused("a tensor that is not plain")
        assert isinstance(size, tuple) and isinstance(stride, tuple)
        self.is_bfloat16 = storage.dtype == "bfloat16"
        flat = np.frombuffer(storage.data, "<u2" if self.is_bfloat16 else storage.dtype)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if offset < 0 or (math.prod(size) and last >= flat.size) or math.prod(size) > flat.size:
            raise Refused("a tensor that reaches beyond its storage")
        steps = tuple(step * flat.itemsize for step in stride)
        view = np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False)
        self.array = np.array((view.astype("<u4") << 16).view("<f4") if self.is_bfloat16 else view)


def _parameter(data: object, grad: object = False, hooks: object = None) -> object:
    return data


_TORCH_NAMES: Final[Mapping[tuple[str, str], object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): _Storage(dtype) for name, dtype in _STORAGES.items()},
}


def _torch_archive(data: bytes) -> Callable[[], object]:
    """Return what reads a file of torch.save: an uncompressed zip of one pickle and a member for each storage."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
        roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1 or any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise Refused("a zip, but not one that torch.save writes")
        root = roots[0]
        program = archive.read(f"{root}/data.pkl")
        if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder") != b"little":
            raise Refused("saved in another byte order")
        stored = {name: archive.read(name) for name in names if name.startswith(f"{root}/data/")}
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise Refused(f"a zip that cannot be read: {error}") from None

    def storage(pid: object) -> object:
        match pid:
            case ("storage", _Storage() as kind, str(key), str(), int(count)):
                held = stored.get(f"{root}/data/{key}")
                size = 2 if kind.dtype == "bfloat16" else np.dtype(kind.dtype).itemsize
                if held is None or len(held) != count * size:
                    raise Refused(f"storage {key[:20]} is not there, or of another size")
                return _Bytes(held, kind.dtype)
        raise Refused("a storage that is not plain")

    return _Reader(program, _TORCH_NAMES, storage).load


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and all(type(n) is int and 0 <= n < 2**40 for n in value)


def _tensors(content: object) -> tuple[dict[str, npt.NDArray[Any]], frozenset[str]]:
    if not isinstance(content, dict):
        raise Refused("holds something else than named tensors")
    tensors: dict[str, npt.NDArray[Any]] = {}
    bfloat16 = set()
    for name, value in content.items():
        if name == "StructuredToParameterName@@" and isinstance(value, dict):
            continue  # paddle's own table of names
        if not isinstance(name, str) or not isinstance(value, (_Array, _Tensor)) or value.array is None:
            raise Refused(f"{str(name)[:80]!r} is not a tensor")
        tensors[name] = value.array
        if isinstance(value, _Tensor) and value.is_bfloat16:
            bfloat16.add(name)
    return tensors, frozenset(bfloat16)


def _bound_memory(size: int) -> None:
    import resource

    limit = 6 * size + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def _nothing_else() -> Iterator[None]:
    """Forbid this process to do anything but compute; the hook cannot be taken away, only told that the block is over."""
    over = False

    def hook(event: str, arguments: object) -> None:
        if not over and event.startswith(_FORBIDDEN):
            raise Refused(f"the pickle made the process try {event}")

    sys.addaudithook(hook)
    try:
        yield
    finally:
        over = True
