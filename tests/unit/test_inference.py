"""Models as static graphs: run as they are written, for any batch and length; what computes something else is not written."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.checkpoint import resolve_model
from pretrain.environment import start
from pretrain.errors import ModelError
from shards.errors import MismatchError
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
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is installed of ONNX, as far as an export can see: nothing, unless a test adds to it."""
    packages: set[str] = set()
    monkeypatch.setattr(inference, "_is_installed", packages.__contains__)
    return packages


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
    assert "pip install paddle2onnx" in capsys.readouterr().out
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


@pytest.mark.skipif(importlib.util.find_spec("paddle2onnx") is None, reason="the extra paddlenlp brings paddle2onnx")
def test_onnx_is_written_and_run_without_onnxruntime_and_installs_nothing(
    shards: Path, tmp_path: Path, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.add("paddle2onnx")
    saved = trained(shards, tmp_path, "convbert")
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **_: pytest.fail(f"started {command}"))
    outcome = inference.write_inference(saved, tmp_path / "served")
    assert 0 < outcome.figures["largest_difference"]["onnx"] <= inference.TOLERANCE
    assert (tmp_path / "served" / "model.onnx").stat().st_size > 10_000


def test_what_paddle2onnx_cannot_translate_is_an_error(
    shards: Path, tmp_path: Path, installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        @staticmethod
        def export(*files: str, **settings: object) -> bytes:
            raise UnboundLocalError("onnx_model_str")

    installed.add("paddle2onnx")
    monkeypatch.setitem(sys.modules, "paddle2onnx", Failing)
    with pytest.raises(ModelError, match="paddle2onnx cannot translate the network"):
        inference.write_inference(trained(shards, tmp_path, "roformer"), tmp_path / "served")
    assert not (tmp_path / "served").exists()
