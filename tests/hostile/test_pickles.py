"""Pickles that would run code: without --trust-pickle none is opened, with it none gets further than its first foreign name."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pretrain.convert import main as convert
from pretrain.errors import WeightsError
from pretrain.unpickle import Refused, read_pickled, rewritten
from tests.helpers.published import write_transformers_folder


class Calls:
    """Pickled, it calls `function(*arguments)` when it is loaded."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.parts


def call(module: str, name: str, argument: str) -> bytes:
    """Return a protocol 4 pickle that calls a name, dotted or not, with one text."""
    texts = [t.encode() for t in (module, name, argument)]
    spelled = [b"\x8c" + struct.pack("<B", len(t)) + t for t in texts]
    return b"\x80\x04" + spelled[0] + spelled[1] + b"\x93" + spelled[2] + b"\x85R."


def torch_archive(program: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", program)
        for key, data in (storages or {}).items():
            archive.writestr(f"model/data/{key}", data)
    return buffer.getvalue()


def payloads(marker: Path) -> dict[str, bytes]:
    """Return pickles each of which would make the file `marker` if it were loaded as pickles are."""
    import os
    import subprocess

    command = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    system = Calls(os.system, command)
    return {
        **{f"os.system, protocol {n}": pickle.dumps({"w": system}, protocol=n) for n in range(6)},
        "eval": pickle.dumps({"w": Calls(eval, python)}),
        "exec": pickle.dumps({"w": Calls(exec, python)}),
        "subprocess": pickle.dumps(Calls(subprocess.call, ["touch", str(marker)])),
        "open": pickle.dumps(Calls(open, str(marker), "w")),
        "nested in a state": pickle.dumps({"w": np.zeros(2), "deep": [({"x": (system,)},)]}, protocol=4),
        "as a key": pickle.dumps({(system, 1): np.zeros(2)}, protocol=4),
        "dotted name below numpy": call("numpy", "f2py.os.system", command),
        "dotted name below an allowed module": call("numpy.core.multiarray", "_reconstruct.__globals__", command),
        "dotted allowed class": call("numpy", "ndarray.__class__", command),
        "another function of numpy": call("numpy", "load", str(marker)),
        "getattr": call("builtins", "getattr", command),
        "paddle's own reducer": pickle.dumps({"w": Calls(eval, python, {})}, protocol=2),
        "import by name": call("importlib", "import_module", "antigravity"),
        "torch archive": torch_archive(pickle.dumps(OrderedDict(w=system), protocol=2)),
        "torch names without an archive": call("torch._utils", "_rebuild_tensor_v2", command),
        "extension registry": b"\x80\x02\x82\x01\x8c\x01x\x85R.",
        "persistent id outside of an archive": b"\x80\x02X\x02\x00\x00\x00osQ.",
        "objects instead of numbers": pickle.dumps({"w": np.array([system], dtype=object)}, protocol=4),
    }


NAMES = list(payloads(Path("/nowhere")))


@pytest.mark.parametrize("name", NAMES)
def test_no_payload_runs_even_when_pickles_are_trusted(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(Refused) as caught:
        read_pickled(payloads(marker)[name])
    assert not marker.exists() and "\n" not in str(caught.value)


def test_the_marker_would_appear(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(payloads(marker)["os.system, protocol 4"])
    assert marker.exists()


@pytest.mark.parametrize("name", ["os.system, protocol 2", "dotted name below numpy", "torch archive"])
def test_the_command_refuses_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker, folder = tmp_path / "marker", tmp_path / "theirs"
    write_transformers_folder(folder, "bert")
    (folder / "model.safetensors").unlink()
    data = payloads(marker)[name]
    (folder / "pytorch_model.bin").write_bytes(data)
    for flags, message in (([], "the weights are a pickle, which can carry code"), (["--trust-pickle"], "pytorch_model.bin: ")):
        assert convert([str(folder), "--from", "hf", *flags, "--out", str(tmp_path / "ours")]) == 21
        line = capsys.readouterr().err.strip()
        assert message in line and "\n" not in line
        assert not marker.exists() and not (tmp_path / "ours").exists()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_pickle_by_the_name_of_safetensors_is_no_safetensors(
    trusted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, folder = tmp_path / "marker", tmp_path / "theirs"
    write_transformers_folder(folder, "bert")
    (folder / "model.safetensors").write_bytes(payloads(marker)["os.system, protocol 4"])
    flags = ["--trust-pickle"] if trusted else []
    assert convert([str(folder), "--from", "hf", *flags, "--out", str(tmp_path / "ours")]) == 21
    assert "not readable as safetensors" in capsys.readouterr().err and not marker.exists()


def test_plain_arrays_are_read_in_another_process(tmp_path: Path) -> None:
    arrays = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.float16([1, 2]),
        "c": np.asfortranarray(np.ones((2, 3))),
    }
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(pickle.dumps({**arrays, "StructuredToParameterName@@": {"b": "linear_0"}}, protocol=4))
    found = load_file(rewritten(path, tmp_path / "out.safetensors"))
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, np.ascontiguousarray(a).tobytes()) for name, a in arrays.items()
    }


def torch_program(size: tuple[int, ...], stride: tuple[int, ...], *, offset: int = 0, count: int = 6) -> bytes:
    """Return what torch.save writes for one float tensor `w`, put together by hand."""

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + numbers(size)
        + numbers(stride)
        + b"\x89"
        + hooks
        + b"tR"
    )
    return b"\x80\x02}" + text("w") + tensor + b"s."


def test_tensors_of_torch_are_read_as_they_lie() -> None:
    data = np.arange(6, dtype="<f4")
    found, _ = read_pickled(torch_archive(torch_program((3, 2), (1, 3)), {"0": data.tobytes()}))
    np.testing.assert_array_equal(found["w"], data.reshape(2, 3).T)


HOSTILE_TENSORS: dict[str, Callable[[], bytes]] = {
    "beyond the storage": lambda: torch_archive(torch_program((3, 3), (3, 1)), {"0": bytes(24)}),
    "before the storage": lambda: torch_archive(torch_program((2,), (1,), offset=-4), {"0": bytes(24)}),
    "huge by a stride of 0": lambda: torch_archive(torch_program((2**30, 2**9), (0, 0)), {"0": bytes(24)}),
    "storage of another size": lambda: torch_archive(torch_program((6,), (1,)), {"0": bytes(20)}),
    "no storage": lambda: torch_archive(torch_program((6,), (1,))),
    "truncated": lambda: torch_archive(torch_program((6,), (1,)), {"0": bytes(24)})[:-30],
    "not a dict": lambda: pickle.dumps([1, 2]),
    "numbers for tensors": lambda: pickle.dumps({"w": 3}),
    "a memo bomb": lambda: b"\x80\x04" + b"J\xff\xff\xff\x7f" * 3 + b"\x8e" + struct.pack("<Q", 2**40) + b".",
}


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_tensors_that_are_not_plain_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        read_pickled(HOSTILE_TENSORS[name]())


def test_the_reading_process_may_do_nothing_else(tmp_path: Path) -> None:
    """Were a stand-in ever to let something through, the process itself still refuses."""
    import subprocess
    import sys

    program = (
        "import os\nfrom pretrain.unpickle import Refused, _nothing_else\n"
        "for act in (lambda: os.system('true'), lambda: open('x', 'w'), lambda: __import__('this'), lambda: compile('1', '', 'eval')):\n"
        "    try:\n        with _nothing_else(): act()\n        print('let through')\n    except Refused: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * 4, done


def test_an_unreadable_pickle_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "w.pdparams").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(WeightsError, match=r"w\.pdparams: not readable as tensors"):
        rewritten(tmp_path / "w.pdparams", tmp_path / "out.safetensors")
