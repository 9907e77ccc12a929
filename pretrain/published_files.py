"""Weights as transformers and PaddleNLP store them: which files hold them, their names and shapes, and their arrays.

safetensors only, whole or in numbered parts with an index; pickles are for `pretrain.unpickle`. bfloat16, which numpy lacks,
becomes float32 exactly, and is remembered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pretrain.errors import WeightsError
from shards.canonical import read_json_object
from shards.errors import NotFoundError

WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
HEADS: Final = "wordloom_heads.safetensors"
PICKLES: Final = ("pytorch_model.bin", "model_state.pdparams")
_PART: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_DTYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Read:
    """Arrays by name; `bfloat16` names those that were stored so."""

    tensors: Tensors
    bfloat16: frozenset[str]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold a folder's weights. Raises NotFoundError, WeightsError for pickles and for a broken index."""
    if (folder / WHOLE).is_file():
        return (folder / WHOLE,)
    if (folder / INDEX).is_file():
        listed = read_json_object(folder / INDEX).get("weight_map")
        names = sorted(set(listed.values())) if isinstance(listed, dict) and _are_texts(listed) else []
        if not names or not all(_PART.fullmatch(name) for name in names):
            raise WeightsError("the index names no parts of a model", where=folder / INDEX)
        return tuple(folder / name for name in names)
    if pickles := [name for name in PICKLES if (folder / name).is_file()]:
        raise refused_pickle(folder / pickles[0])
    raise NotFoundError("no weights here", where=folder, expected=WHOLE)


def refused_pickle(path: Path) -> WeightsError:
    """Return the error for a pickle that nobody asked to read."""
    return WeightsError(
        "the weights are a pickle, which can carry code", where=path,
        hint=f"If you trust its source: python -m pretrain.convert {path.parent} --trust-pickle --from hf|paddlenlp --out DIR",
    )  # fmt: skip


def _are_texts(mapping: Mapping[str, object]) -> bool:
    return all(isinstance(value, str) for value in mapping.values())


def read_shapes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors, reading headers only. Raises WeightsError for what is no safetensors file."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError("no such file of weights", where=path) from None
        except (SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise WeightsError(f"not readable as safetensors: {error}", where=path) from None
        if twice := sorted(set(found) & set(shapes)):
            raise WeightsError(f"{twice[0]} is in another part of the model as well", where=path)
        shapes |= found
    return shapes


def read_tensors(files: Sequence[Path]) -> Read:
    """Return all tensors of files whose shapes were read."""
    from safetensors import SafetensorError, deserialize

    tensors: Tensors = {}
    bfloat16: set[str] = set()
    for path in files:
        try:
            stored = deserialize(path.read_bytes())
        except SafetensorError as error:
            raise WeightsError(f"not readable as safetensors: {error}", where=path) from None
        for name, tensor in stored:
            dtype, shape, data = tensor["dtype"], tensor["shape"], tensor["data"]
            if dtype == "BF16":
                wide = np.frombuffer(data, "<u2").astype("<u4") << 16
                tensors[name] = wide.view("<f4").reshape(shape)
                bfloat16.add(name)
            elif dtype in _DTYPES:
                tensors[name] = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
            else:
                raise WeightsError(f"{name} has a type that is not supported", where=path, expected=sorted(_DTYPES), got=dtype)
    return Read(tensors=tensors, bfloat16=frozenset(bfloat16))


def safetensors_bytes(tensors: Mapping[str, npt.NDArray[Any]], *, format: str, bfloat16: frozenset[str] = frozenset()) -> bytes:
    """Return a safetensors file; `bfloat16` names float32 arrays to store so. Raises WeightsError if one loses digits."""
    from safetensors.numpy import save

    stored = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    for name in bfloat16:
        bits = stored[name].astype("<f4", copy=False).view("<u4")
        if (bits & 0xFFFF).any():
            raise WeightsError(f"{name} is no bfloat16 any more")
        stored[name] = (bits >> 16).astype("<u2")
    data: bytes = save(stored, metadata={"format": format})
    return _renamed_types(data, bfloat16) if bfloat16 else data


def rounded_to_bfloat16(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the nearest numbers that bfloat16 has, ties to even; for finite ones."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _renamed_types(data: bytes, bfloat16: frozenset[str]) -> bytes:
    """Return a safetensors file with the type of 16-bit words named as what they are: numpy has no bfloat16 to save."""
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    for name in bfloat16:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[begin:]
