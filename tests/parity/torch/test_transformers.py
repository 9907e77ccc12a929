"""Every network and head against transformers, on every case: outputs, gradients, and one optimizer step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pretrain.environment import start

start("cpu")

from pretrain.compare_hf import POOL_ACTS, build_network, their_class, their_config  # noqa: E402
from pretrain.compare_paddle import our_network, random_weights  # noqa: E402
from pretrain.compare_report import FORWARD, GRADIENTS, STEPPED, WEIGHTS, Row, compare_kind, kinds_of  # noqa: E402
from pretrain.names import weight_names  # noqa: E402
from tests.parity.cases import CASES, CONFIGS, UNPADDED, batches  # noqa: E402

HEADS = {
    "pretraining": {"hidden", "pooler", "mlm", "sop"}, "sequence": {"sequence"}, "token": {"token"},
    "rtd": {"generator", "discriminator"},
}  # fmt: skip
PAIRS = [(name, kind) for name, config in CONFIGS.items() for kind in kinds_of(config, against="hf")]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids=lambda value: str(value))
def test_outputs_and_gradients_are_equal(name: str, kind: str, report: list[Row]) -> None:
    config = CONFIGS[name]
    cases, pool_act = batches(config), POOL_ACTS[config.architecture]
    rows = list(compare_kind(config, kind, build_network, cases, name=name, pool_act=pool_act, step=False))
    report += rows
    assert {(row.head, row.case) for row in rows if row.what == FORWARD} == {(h, c) for h in HEADS[kind] for c in CASES}
    # Where theirs cannot read a batch as ours does, padded rows went through it one by one.
    with_gradients = UNPADDED if name == "convbert-own-padding" else CASES
    assert [row.case for row in rows if row.what == GRADIENTS] == [case for case in CASES if case in with_gradients]
    assert [str(row) for row in rows if not row.is_equal] == []
    assert min(row.scale for row in rows) > 0.01


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids=lambda value: str(value))
def test_one_optimizer_step_is_equal(name: str, kind: str) -> None:
    config = CONFIGS[name]
    cases = {case: batch for case, batch in batches(config).items() if case == "padding" or (name == "bert" and case == CASES[3])}
    if name == "convbert-own-padding":
        cases = {"no padding": batches(config)["no padding"]}
    rows = list(compare_kind(config, kind, build_network, cases, name=name, pool_act=POOL_ACTS[config.architecture]))
    assert {row.what for row in rows} == {FORWARD, GRADIENTS, WEIGHTS, STEPPED}
    assert [str(row) for row in rows if not row.is_equal] == []


def test_the_step_is_no_trifle() -> None:
    config = CONFIGS["bert"]
    ours, batch = our_network(config, "pretraining"), batches(config)["padding"]
    ours.load(weights := random_weights(ours, config))
    ours.step(batch, ("mlm", "sop"), frozenset())
    moved = {name: float(np.abs(value - weights[name]).max()) for name, value in ours.weights().items()}
    assert np.mean([distance > 5e-5 for distance in moved.values()]) > 0.8


def test_a_wrong_map_of_names_does_not_pass() -> None:
    """Two square matrices changed for each other: shapes fit, outputs do not."""
    config = CONFIGS["bert"]
    theirs, ours, batch = build_network(config, "pretraining"), our_network(config, "pretraining"), batches(config)["padding"]
    weights = random_weights(ours, config)
    one, two = (f"bert.encoder.layers.1.self_attn.{part}_proj.weight" for part in "qk")
    ours.load(weights), theirs.load(weights | {one: weights[two], two: weights[one]})
    assert np.abs(ours.outputs(batch)["hidden"] - theirs.outputs(batch)["hidden"]).max() > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_the_map_of_names_is_that_of_the_published_class(name: str) -> None:
    config = CONFIGS[name]
    model = their_class(config, "ForPreTraining" if name == "bert" else "ForMaskedLM")(their_config(config))
    published = {there for there, parameter in model.named_parameters() if parameter.requires_grad}
    mapped = {n.transformers for n in weight_names(config)} - {None}
    # RoBERTa has a pooler, but not below a masked language model.
    assert mapped - published == ({f"roberta.pooler.dense.{kind}" for kind in ("weight", "bias")} if name == "roberta" else set())
    assert published <= mapped


def test_transformers_never_learns_paddings_embedding_by_reading_it_and_neither_do_we() -> None:
    config = CONFIGS["convbert"]
    batch = batches(config)["padding"]
    word = "convbert.embeddings.word_embeddings.weight"
    for network in (our_network(config, "token"), build_network(config, "token")):
        network.load(random_weights(our_network(config, "token"), config))
        gradient = network.gradients(batch, ("token",))
        assert (gradient[word][config.pad_id] == 0).all() and np.abs(gradient[word]).max() > 0
        assert np.abs(gradient["convbert.embeddings.position_embeddings.weight"][18:20]).max() > 0  # read all the same


def test_our_own_convolution_differs_from_theirs_where_there_is_padding() -> None:
    own, batch = CONFIGS["convbert-own-padding"], batches(CONFIGS["convbert"])["padding"]
    ours, theirs = our_network(own, "token"), build_network(dataclasses.replace(own, conv_sees_padding=True), "token")
    weights = random_weights(ours, own)
    ours.load(weights), theirs.load(weights)
    assert np.abs(ours.outputs(batch)["token"] - theirs.outputs(batch)["token"]).max() > 1e-3
