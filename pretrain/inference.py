"""A model as a static graph, for serving without this project: ``python -m pretrain.export MODEL --to inference --out DIR``.

The folder holds ``model.json`` and ``model.pdiparams`` (`paddle.jit.load`, paddle.inference), ``model.onnx`` where paddle2onnx
is installed, the tokenizer's files, and ``inference.json``: inputs and outputs in their order, with shapes, and how far what
was written is from the network. Batch and length are free. What is written is run before the folder is made, on batches of two
shapes, one of them padded; a difference above `TOLERANCE` at any real token is an error. ONNX is run by onnxruntime, and where
that is not installed by the interpreter that comes with the format (`onnx.reference`), which paddle2onnx depends on.

Legend: B rows of the batch, L padded length, D hidden size, V vocabulary.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretrain.config import ModelConfig
from pretrain.errors import ModelError
from pretrain.new_folder import commit_new_folder
from shards.canonical import canonical_json
from shards.cli import Outcome
from shards.errors import MismatchError

if TYPE_CHECKING:
    from paddle import nn

    from pretrain.checkpoint import SavedModel

Arrays = dict[str, npt.NDArray[Any]]

TOLERANCE = 1e-4  # of absolute differences; the graph itself is equal to the bit or nearly so, other runtimes are not
INPUTS = {"input_ids": "BL", "token_type_ids": "BL", "lengths": "B"}
_SHAPES = {"hidden": "BLD", "mlm_logits": "BLV", "pooled": "BD", "sop_logits": "B2", "replaced_logits": "BL"}
_NAME = "model"
_OPSET = 17


def write_inference(saved: SavedModel, out: Path) -> Outcome:
    """Write `saved` as the folder `out`. Raises MismatchError when what was written computes something else.

    Raises ModelError when paddle2onnx is installed but cannot translate the network.
    """
    from pretrain.environment import start

    with_onnx = _is_installed("paddle2onnx")
    start("cpu")
    network, names = _served(saved)
    batches = [_batch(saved.config, lengths) for lengths in ([9, 4, 12], [7])]
    expected = [_eager(network, names, batch) for batch in batches]
    with tempfile.TemporaryDirectory(prefix="wordloom-inference-") as work:
        graph = Path(work) / _NAME
        _save(network, graph)
        apart = {"paddle": _furthest(expected, [_run_graph(graph, names, batch) for batch in batches], batches, "static graph")}
        if with_onnx:
            onnx = graph.with_suffix(".onnx")
            _save_onnx(graph, onnx)
            apart["onnx"] = _furthest(expected, [_run_onnx(onnx, names, batch) for batch in batches], batches, "ONNX file")
        files = {path.name: path.read_bytes() for path in sorted(Path(work).iterdir())}
    for path in sorted(saved.tokenizer_folder.iterdir()):
        if path.is_file():
            files[f"tokenizer/{path.name}"] = path.read_bytes()
    files["inference.json"] = canonical_json(
        {
            "inputs": [{"name": name, "shape": shape, "type": "int64"} for name, shape in INPUTS.items()],
            "outputs": [{"name": name, "shape": _SHAPES[name], "type": "float32"} for name in names],
            "largest_difference": apart, "tolerance": TOLERANCE, "fingerprint": saved.fingerprint,
            "config": saved.config.to_json(),
        }
    )  # fmt: skip
    commit_new_folder(out, files)
    print(f"wrote {out / _NAME}: paddle.jit.load({str(out / _NAME)!r}), outputs {', '.join(names)}")
    for kind, difference in apart.items():
        print(f"{kind}: at most {difference:.1e} from the network (tolerance {TOLERANCE:.0e})")
    if not with_onnx:
        print("no ONNX file: paddle2onnx is not installed. To have one: pip install paddle2onnx")
    return Outcome(fingerprint=saved.fingerprint, outputs=(str(out),), figures={"largest_difference": apart, "outputs": names})


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _served(saved: SavedModel) -> tuple[nn.Layer, list[str]]:
    """Return the network with the heads that the model has, ready to evaluate, and the names of its outputs."""
    from paddle import nn

    from pretrain.heads import PretrainingModel
    from pretrain.rtd import RTDModel
    from pretrain.weights import load_into

    of_rtd = saved.objective == "rtd"
    model: Any = RTDModel(saved.config) if of_rtd else PretrainingModel(saved.config)
    load_into(model, saved.weights(), may_lack=saved.absent, where=saved.path)
    model.eval()

    def has(part: str) -> bool:
        return not any(part.startswith(lacking) or lacking.startswith(part) for lacking in saved.absent)

    has_pooler = saved.config.has_pooler and has(f"{saved.config.prefix}.pooler.")
    names = ["hidden"]
    if of_rtd:
        names.append("replaced_logits")
    else:
        names += ["mlm_logits"] if has("cls.predictions.") else []
        names += ["pooled"] if has_pooler else []
        names += ["sop_logits"] if has("cls.seq_relationship.") and (has_pooler or not saved.config.has_pooler) else []

    class Served(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids_BL: Any, token_type_ids_BL: Any, lengths_B: Any) -> list[Any]:
            encoder = self.model.encoder
            hidden_BLD = encoder(input_ids_BL, token_type_ids_BL, lengths_B)
            found = {"hidden": hidden_BLD}
            if "replaced_logits" in names:
                found["replaced_logits"] = self.model.discriminator_predictions(hidden_BLD)
            if "mlm_logits" in names:
                found["mlm_logits"] = self.model.cls.predictions(hidden_BLD, encoder.embeddings.word_embeddings.weight)
            first_BD = hidden_BLD[:, 0]
            if has_pooler and not of_rtd:
                first_BD = found["pooled"] = encoder.pooler(first_BD)
            if "sop_logits" in names:
                found["sop_logits"] = self.model.cls.seq_relationship(first_BD)
            return [found[name] for name in names]

    served = Served()
    served.eval()
    return served, names


def _batch(config: ModelConfig, lengths: Sequence[int]) -> Arrays:
    random = np.random.default_rng(0)
    lengths_B = np.minimum(np.array(lengths), config.max_positions)
    shape = len(lengths_B), int(lengths_B.max())
    ids_BL = random.integers(0, config.vocab_size, shape)
    ids_BL[np.arange(shape[1]) >= lengths_B[:, None]] = config.pad_id
    return {"input_ids": ids_BL, "token_type_ids": random.integers(0, config.type_vocab_size, shape), "lengths": lengths_B}


def _eager(network: nn.Layer, names: Sequence[str], batch: Arrays) -> Arrays:
    import paddle

    with paddle.no_grad():
        found = network(*(paddle.to_tensor(batch[name]) for name in INPUTS))
    return {name: tensor.numpy() for name, tensor in zip(names, found, strict=True)}


def _save(network: nn.Layer, path: Path) -> None:
    import paddle
    from paddle.static import InputSpec

    spec = [InputSpec([None] * len(shape), "int64", name) for name, shape in INPUTS.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # paddle's static mode warns of paddle's own operators
        paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), str(path))


def _run_graph(path: Path, names: Sequence[str], batch: Arrays) -> Arrays:
    import paddle

    return _eager(paddle.jit.load(str(path)), names, batch)


def _save_onnx(graph: Path, path: Path) -> None:
    paddle2onnx = importlib.import_module("paddle2onnx")
    model, weights = (str(graph.with_suffix(suffix)) for suffix in (".json", ".pdiparams"))
    try:
        # Not to a file: on the way to one paddle2onnx lets polygraphy install packages with pip, unasked.
        data = paddle2onnx.export(model, weights, save_file=None, opset_version=_OPSET)
    except UnboundLocalError:  # what it does after logging why it failed
        raise ModelError("paddle2onnx cannot translate the network; nothing was written") from None
    path.write_bytes(data)


def _run_onnx(path: Path, names: Sequence[str], batch: Arrays) -> Arrays:
    if _is_installed("onnxruntime"):
        runtime = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    else:
        session = importlib.import_module("onnx.reference").ReferenceEvaluator(str(path))
    return dict(zip(names, session.run(None, {name: batch[name] for name in INPUTS}), strict=True))


def _furthest(expected: Sequence[Arrays], found: Sequence[Arrays], batches: Sequence[Arrays], what: str) -> float:
    """Return the largest absolute difference at real tokens. Raises MismatchError above the tolerance, naming the output."""
    furthest: Mapping[str, float] = {}
    for ours, theirs, batch in zip(expected, found, batches, strict=True):
        is_real_BL = np.arange(batch["input_ids"].shape[1]) < batch["lengths"][:, None]
        for name, value in ours.items():
            if theirs[name].shape != value.shape:
                raise MismatchError(
                    f"{what}: output {name!r} has another shape", expected=value.shape, got=theirs[name].shape
                )  # fmt: skip
            apart = np.abs(theirs[name] - value)
            apart = apart[is_real_BL] if _SHAPES[name].startswith("BL") else apart
            furthest = dict(furthest) | {name: max(float(apart.max()), furthest.get(name, 0.0))}
    for name, difference in furthest.items():
        if not difference <= TOLERANCE:
            raise MismatchError(
                f"{what}: output {name!r} is not the network's; nothing was written", expected=f"at most {TOLERANCE:.0e} apart",
                got=f"{difference:.1e}",
            )  # fmt: skip
    return max(furthest.values())
