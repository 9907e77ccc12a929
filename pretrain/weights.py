"""Tensors by structured name, in safetensors files: nothing in such a file can run.

Equal tensors give equal bytes: names are sorted by the format itself, metadata is constant, no clock, no path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretrain.errors import WeightsError
from shards.durable import FileDigest, commit_bytes
from shards.errors import NotFoundError

if TYPE_CHECKING:
    from paddle import nn

Tensors = dict[str, npt.NDArray[Any]]

_METADATA = {"format": "np"}
_NAMED_AT_MOST = 5


def named_weights(layer: nn.Layer) -> Tensors:
    """Return a layer's parameters and persistent buffers as arrays by structured name; bfloat16 becomes float32, exactly."""
    return {
        name: (tensor.astype("float32") if "bfloat16" in str(tensor.dtype) else tensor).numpy()
        for name, tensor in layer.state_dict().items()
    }


def save_weights(path: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> FileDigest:
    """Commit named tensors as the safetensors file `path`; equal tensors give equal bytes. Raises StorageError."""
    from safetensors.numpy import save

    ordered = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    return commit_bytes(path, save(ordered, metadata=_METADATA))


def load_weights(path: Path) -> Tensors:
    """Read a safetensors file. Raises NotFoundError, or WeightsError for a file that is not whole or not of the format."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise NotFoundError("no weights here", where=path, expected="a safetensors file")
    try:
        tensors: Tensors = load_file(path)
        return tensors
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"not readable as safetensors: {error}", where=path) from None


def load_into(
    layer: nn.Layer,
    weights: Mapping[str, npt.NDArray[Any]],
    *,
    prefixes: Mapping[str, str] | None = None,
    may_lack: Sequence[str] = (),
    may_ignore: Sequence[str] = (),
    where: object = None,
) -> None:
    """Copy `weights` into a layer's parameters and buffers; every name must be matched on both sides.

    prefixes: replacements for the beginnings of names in `weights`, as in ``{"roformer.": ""}``; the first that fits counts.
    may_lack: beginnings of the layer's names that may keep their initial values, as in ``("classifier.",)``.
    may_ignore: beginnings of names in `weights`, after replacement, that may have no place in the layer.
    Floating types are converted to the parameter's own. Raises WeightsError, naming tensors and giving counts, before anything
    is changed.
    """
    renamed = {_rename(name, prefixes or {}): array for name, array in weights.items()}
    if len(renamed) != len(weights):
        raise WeightsError("two tensors have one name after renaming", where=where, got=f"prefixes {dict(prefixes or {})}")
    targets = layer.state_dict()
    missing = [n for n in targets if n not in renamed and not n.startswith(tuple(may_lack))]
    unexpected = [n for n in renamed if n not in targets and not n.startswith(tuple(may_ignore))]
    shared = [n for n in targets if n in renamed]
    mis_shaped = [
        f"{n} {_shape(renamed[n].shape)} for {_shape(targets[n].shape)}"
        for n in shared
        if tuple(renamed[n].shape) != tuple(targets[n].shape)
    ]
    mistyped = [f"{n} {renamed[n].dtype}" for n in shared if renamed[n].dtype.kind != "f"]
    problems = [
        _listed("missing", missing), _listed("unexpected", unexpected), _listed("mis-shaped", mis_shaped),
        _listed("not floating", mistyped),
    ]  # fmt: skip
    if any(problems):
        raise WeightsError(
            "; ".join(filter(None, problems)),
            where=where,
            hint=f"{len(shared)} of {len(targets)} tensors of the network have a counterpart: is this the right model size?",
        )
    for name in shared:
        target = targets[name]
        kind = "float32" if "bfloat16" in str(target.dtype) else str(target.dtype).rpartition(".")[2]
        target.set_value(_as_tensor(renamed[name].astype(kind, copy=False), target))


def _as_tensor(array: npt.NDArray[Any], like: Any) -> Any:
    import paddle

    return paddle.to_tensor(array, dtype=like.dtype)


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
    return name if old is None else prefixes[old] + name[len(old) :]


def _shape(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape) or "scalar"


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    rest = len(names) - _NAMED_AT_MOST
    return f"{len(names)} {what}: {', '.join(names[:_NAMED_AT_MOST])}" + (f" and {rest} more" if rest > 0 else "")
