"""Every network and head against the installed PaddleNLP; and, pinned down, where PaddleNLP is wrong."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pretrain import compare
from pretrain.checkpoint import Checkpoint
from pretrain.config import ModelConfig
from tests.helpers.commands import ROOT
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan
from tests.parity.cases import CASES, CONFIGS, UNPADDED

MAX, MEAN = 1e-5, 1e-6
NAMES = (*CONFIGS, "roformer-v2", "roformer-linear-pooler")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("paddlenlp") is None, reason="the extra paddlenlp is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of a tiny ConvBERT."""
    folder = tmp_path_factory.mktemp("run")
    network = ModelConfig(
        architecture="convbert", vocab_size=64, hidden_size=32, embedding_size=16, num_layers=2, num_heads=4, intermediate_size=48,
        max_positions=64,
    )  # fmt: skip
    plan = tiny_plan(tiny_config(write_tiny_data(folder / "tiny"), folder, max_steps=2, save_steps=2), network)
    return new_trainer(plan).run().checkpoint


@pytest.fixture(scope="module")
def report(run: Checkpoint) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.parity.paddlenlp_report", str(run.path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # more only wait for each other in networks as small as these
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_head_is_equal_on_every_case_forward_gradients_and_after_a_step(report: dict[str, Any], name: str) -> None:
    rows, cases = report[name]["rows"], CASES if name == "roformer-v2" else CASES[:2]
    heads = {"hidden", "mlm", "sequence", "token"} | ({"sop"} if name == "bert" else set())
    heads |= set() if name in ("roberta", "roformer-v2") else {"pooler"}
    heads |= {"discriminator"} if name.startswith(("roformer", "convbert")) and name != "roformer-v2" else set()
    assert {(row["head"], row["case"]) for row in rows if row["what"] == "forward"} == {(h, c) for h in heads for c in cases}
    of_gradients = {row["case"] for row in rows if row["what"] == "gradients"}
    assert of_gradients == {case for case in cases if name != "convbert-own-padding" or case in UNPADDED}
    assert {row["what"] for row in rows} == {"forward", "gradients", "weights after a step", "forward after a step"}
    assert [row for row in rows if not (row["max"] <= MAX and row["mean"] <= MEAN)] == []
    assert min(row["scale"] for row in rows) > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_the_map_of_names_places_every_weight(report: dict[str, Any], name: str) -> None:
    """And every weight of theirs has a name of ours: `PaddleNetwork` refuses it otherwise."""
    expected = {"bert": set(), "roberta": {"cls.seq_relationship", "roberta.pooler.dense"}}
    assert {weight.rpartition(".")[0] for weight in report[name]["lacked"]} == expected.get(name, {"cls.seq_relationship"})


def test_paddlenlp_loses_the_initial_weights_of_roformer_v2(report: dict[str, Any]) -> None:
    # 128 features, 2 layers: 1/sqrt(256) is meant (see test_network_particulars for ours), Xavier's sqrt(2/256) is what it has.
    assert report["mistakes"]["roformer_v2_sd"] == pytest.approx(math.sqrt(2 / 256), rel=0.02)


def test_paddlenlp_forgets_roformers_projection_when_it_converts(report: dict[str, Any]) -> None:
    assert not [name for name in report["mistakes"]["roformer_maps"] if "embeddings_project" in name]


def test_paddlenlp_converts_robertas_mlm_layer_without_transposing_it(report: dict[str, Any]) -> None:
    assert report["mistakes"]["roberta_actions"] == {
        "lm_head.dense.weight": None, "roberta.encoder.layer.0.intermediate.dense.weight": "transpose",
    }  # fmt: skip


def test_paddlenlp_makes_the_generator_as_large_as_the_discriminator_which_crashes(report: dict[str, Any]) -> None:
    generator, discriminator = report["mistakes"]["rtd_block_weights"]
    assert generator == discriminator
    assert "got tuple" in report["mistakes"]["discriminator_crash"]


@pytest.mark.parametrize("name", ["convbert", "convbert-grouped"])
def test_paddlenlp_pools_twice_before_it_classifies_with_convbert(report: dict[str, Any], name: str) -> None:
    assert report["mistakes"]["pooled_twice"][name] > 0.1


def test_paddlenlp_reads_zeros_at_padding_whatever_its_embedding_is(report: dict[str, Any]) -> None:
    # transformers reads what is there, as we do (tests/parity/torch); a tied decoder moves it away from 0 in training.
    at_zero, elsewhere = report["mistakes"]["apart_by_paddings_embedding"]
    assert at_zero <= MAX and elsewhere > 1e-3


def test_the_command_compares_a_runs_weights_head_by_head(report: dict[str, Any], run: Checkpoint) -> None:
    figures = report["command"]
    assert figures["exit_code"] == figures["over"] == 0 and figures["fingerprint"] == run.fingerprint
    assert figures["max"] <= MAX and figures["mean"] <= MEAN
    found = {(row["head"], row["case"], row["what"]) for row in figures["rows"]}
    heads = ("hidden", "pooler", "mlm", "sequence", "token", "discriminator")
    assert found >= {(head, case, "forward") for head in heads for case in ("no padding", "padding")}
    assert found >= {(head, "no padding", "forward after a step") for head in heads}


def test_a_peer_that_is_not_installed_is_an_error_that_says_how(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    assert compare.main(["--model", "roformer-tiny"]) == 5
    assert "torch is not installed here" in (error := capfd.readouterr().err) and "make parity" in error
    assert compare.main(["--against", "paddlenlp"]) == 2
    assert "--model NAME or --path PATH" in capfd.readouterr().err
    assert compare.main(["--model", "roformer-tin", "--against", "paddlenlp"]) == 2
    assert "Did you mean 'roformer-tiny'" in capfd.readouterr().err


def test_a_checkpoint_of_another_size_is_refused(run: Checkpoint, capfd: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--model", "convbert-small", "--path", str(run.path), "--against", "paddlenlp"]) == 8
    error = capfd.readouterr().err
    assert "no convbert-small" in error and "hidden_size 256" in error and "32" in error


def test_our_names_for_transformers_are_those_paddlenlp_converts_from(report: dict[str, Any]) -> None:
    """All but: poolers, which transformers' RoFormer lacks and its RoBERTa keeps below ``roberta.``; a bias's older name; a mistake."""
    assert report["maps"]["bert"] == []
    assert [target for target, _, _ in report["maps"]["roformer"]] == [
        "roformer.pooler.dense.weight", "roformer.pooler.dense.bias", "cls.predictions.decoder_bias",
    ]  # fmt: skip
    assert report["maps"]["roberta"] == [
        [f"roberta.pooler.dense.{kind}", [f"pooler.dense.{kind}", turned], [f"roberta.pooler.dense.{kind}", turned]]
        for kind, turned in (("weight", True), ("bias", False))
    ] + [["lm_head.dense.weight", ["lm_head.dense.weight", False], ["lm_head.dense.weight", True]]]
