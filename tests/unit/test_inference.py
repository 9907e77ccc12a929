"""Models as static graphs: run as they are written, for any batch and length; what computes something else is not written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.checkpoint import resolve_model
from pretrain.environment import start
from shards.errors import MismatchError, NotFoundError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_network, tiny_plan

start("cpu")

import paddle  # noqa: E402

from pretrain import inference  # noqa: E402
from pretrain.heads import PretrainingModel  # noqa: E402
from pretrain.weights import load_into  # noqa: E402

NETWORKS: dict[str, dict[str, Any]] = {
    "roformer": {"embedding_size": 8},
    "roformer_v2": {},
    "roberta": {"type_vocab_size": 1, "pad_id": 1},
    "convbert": {"num_heads": 4, "conv_kernel_size": 5},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    found = inference.importlib.util.find_spec
    monkeypatch.setattr(inference.importlib.util, "find_spec", lambda name: None if "onnx" in name else found(name))


def trained(shards: Path, out: Path, architecture: str, **changes: Any) -> Any:
    network = replace(tiny_network(), architecture=architecture, **NETWORKS[architecture])
    new_trainer(tiny_plan(tiny_config(shards, out, max_steps=1, save_steps=1, **changes), network)).run()
    return resolve_model(out / "run")


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_graph_computes_what_the_network_does_for_other_batches_and_lengths(
    architecture: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = trained(shards, tmp_path, architecture)
    outcome = inference.write_inference(saved, tmp_path / "served")
    about = json.loads((tmp_path / "served" / "inference.json").read_text())
    assert outcome.figures["largest_difference"]["paddle"] <= about["tolerance"] == inference.TOLERANCE
    assert "pip install paddle2onnx onnxruntime" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "served" / "tokenizer").iterdir()) == sorted(
        p.name for p in saved.tokenizer_folder.iterdir()
    )
    model = PretrainingModel(saved.config)
    load_into(model, saved.weights())
    model.eval()
    graph = paddle.jit.load(str(tmp_path / "served" / "model"))
    for lengths in ([3, 64, 17, 1, 2], [1]):
        batch = inference._batch(saved.config, lengths)
        tensors = [paddle.to_tensor(batch[given["name"]]) for given in about["inputs"]]
        found = dict(zip((given["name"] for given in about["outputs"]), graph(*tensors), strict=True))
        rows = paddle.to_tensor(np.flatnonzero(np.arange(max(lengths)) < np.array(lengths)[:, None]))
        mlm_logits, sop_logits = model(*tensors, rows)
        ours = found["mlm_logits"].numpy().reshape(-1, 64)[rows.numpy()]
        np.testing.assert_allclose(ours, mlm_logits.numpy(), atol=inference.TOLERANCE)
        np.testing.assert_allclose(found["sop_logits"].numpy(), sop_logits.numpy(), atol=inference.TOLERANCE)


def test_replaced_token_detection_is_served_with_its_own_head(shards: Path, tmp_path: Path) -> None:
    saved = trained(shards, tmp_path, "convbert", objective="rtd")
    assert inference.write_inference(saved, tmp_path / "served").figures["outputs"] == ["hidden", "replaced_logits"]


def test_a_head_that_the_model_lacks_is_not_served(shards: Path, tmp_path: Path) -> None:
    saved = replace(trained(shards, tmp_path, "roformer"), absent=("cls.seq_relationship.", "roformer.pooler."))
    assert inference.write_inference(saved, tmp_path / "served").figures["outputs"] == ["hidden", "mlm_logits"]


def test_a_graph_that_computes_something_else_leaves_no_folder(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = trained(shards, tmp_path, "roformer")
    run_graph = inference._run_graph
    monkeypatch.setattr(inference, "_run_graph", lambda *given: {name: value + 1e-3 for name, value in run_graph(*given).items()})
    with pytest.raises(MismatchError, match="'hidden' is not the network's"):
        inference.write_inference(saved, tmp_path / "served")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_onnx_file_that_could_not_be_checked_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference.importlib.util, "find_spec", lambda name: object() if name == "paddle2onnx" else None)
    with pytest.raises(NotFoundError, match="onnxruntime") as caught:
        inference._has_onnx()
    assert "pip install onnxruntime" in str(caught.value.hint)
