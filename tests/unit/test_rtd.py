"""Replaced token detection: sizes, tied embeddings, sampling, losses, and training with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.config import ModelConfig, generator_config
from pretrain.environment import start
from pretrain.errors import ModelError
from pretrain.loader import MicroBatches
from pretrain.log_line import read_metrics
from pretrain.models import model_config
from pretrain.options import RTD_WEIGHT
from pretrain.plan import make_plan
from shards.errors import MismatchError
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

start("cpu")

import paddle  # noqa: E402

from pretrain.objectives import ReplacedTokens  # noqa: E402
from pretrain.rtd import RTDModel, sample  # noqa: E402

ARCHITECTURES = ("roformer", "convbert")


def network(architecture: str, *, dropout: float = 0.0) -> ModelConfig:
    return ModelConfig(
        architecture=architecture, vocab_size=64, hidden_size=32, embedding_size=16, num_layers=2, num_heads=4,
        intermediate_size=48, max_positions=64, dropout=dropout, attention_dropout=dropout,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "tiny")


def plan_of(shards: Path, out: Path, architecture: str, **changes: Any) -> Any:
    return tiny_plan(tiny_config(shards, out, objective="rtd", **changes), network(architecture, dropout=0.1))


def micro_batches(shards: Path, out: Path, *, micro_batch: int = 4, rank: int = 0, ranks: int = 1) -> MicroBatches:
    plan = plan_of(shards, out, "convbert")
    return MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=micro_batch, rank=rank, ranks=ranks, draws=True)


def tensors(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: paddle.to_tensor(array) for name, array in batch.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convbert-small", (64, 1, 256, 128)),
        ("convbert-medium-small", (96, 2, 384, 128)),
        ("convbert-base", (256, 4, 1024, 768)),
        ("roformer-small", (96, 1, 384, 384)),
        ("roformer-base", (256, 4, 1024, 768)),
    ],
)
def test_the_generator_has_the_published_share_of_the_width(name: str, expected: tuple[int, ...]) -> None:
    whole, small = model_config(name, 100), generator_config(model_config(name, 100))
    assert (small.hidden_size, small.num_heads, small.intermediate_size, small.embedding_size) == expected
    assert (small.num_layers, small.vocab_size, small.num_groups) == (whole.num_layers, 100, whole.num_groups)


def test_networks_without_a_projection_are_refused_before_paddle_is_needed(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'roformer_v2'.*roformer.*convbert"):
        make_plan(tiny_config(shards, tmp_path, objective="rtd", model="roformer-v2-small"), verify=False, say=lambda _: None)


def test_weights_are_gone_on_with_by_objectives_of_the_same_heads(shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path, "convbert", max_steps=1)
    new_trainer(plan).run()
    other = tiny_config(shards, tmp_path, init=str(plan.folder), name="other")
    assert make_plan(replace(other, objective="rtd"), verify=False, say=lambda _: None).network == plan.network
    with pytest.raises(MismatchError, match=r"trained for 'rtd'.*'mlm'") as caught:
        make_plan(replace(other, objective="mlm"), verify=False, say=lambda _: None)
    assert "--objective rtd" in str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_networks_share_the_embeddings_which_are_there_once(architecture: str) -> None:
    model = RTDModel(network(architecture))
    names = set(model.state_dict())
    assert not [name for name in names if name.startswith("generator.embeddings.")]
    assert [name for name in names if name.endswith("word_embeddings.weight")] == [
        f"{architecture}.embeddings.word_embeddings.weight"
    ]
    assert "generator.embeddings_project.weight" in names and "discriminator_predictions.dense_prediction.bias" in names
    assert model.state_dict()["generator.encoder.layers.1.linear1.weight"].shape == [8, 12]


def test_samples_follow_the_softmax() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.0, 0.3]) + 1e-30)
    draws = (np.arange(1000) + 0.5) / 1000
    drawn = sample(paddle.to_tensor(np.tile(logits, (1000, 1)).astype("float32")), paddle.to_tensor(draws)).numpy()
    assert np.bincount(drawn, minlength=4).tolist() == [500, 200, 0, 300]
    assert (np.diff(drawn) >= 0).all()
    edges = sample(paddle.to_tensor([[0.0, 0.0, -1e9]] * 2), paddle.to_tensor(np.array([0.0, np.nextafter(1.0, 0.0)]))).numpy()
    assert edges.tolist() == [0, 1]
    assert sample(paddle.zeros([0, 4]), paddle.zeros([0])).shape == [0]


def test_draws_depend_on_sample_epoch_seed_and_place_only(shards: Path, tmp_path: Path) -> None:
    def by_token(batches: list[dict[str, np.ndarray]]) -> dict[tuple[int, int, int], float]:
        found = {}
        for batch in batches:
            row, column = np.divmod(batch["masked_positions"], batch["input_ids"].shape[1])
            places = zip(batch["sample_ids"][row], batch["epochs"][row], column, strict=True)
            found |= {tuple(map(int, place)): float(draw) for place, draw in zip(places, batch["draws"], strict=True)}
        return found

    whole = micro_batches(shards, tmp_path, micro_batch=8)
    expected = by_token([whole.make(i) for i in range(12)])
    parts = [micro_batches(shards, tmp_path, micro_batch=3, rank=rank, ranks=2) for rank in (0, 1)]
    assert by_token([part.make(i) for part in parts for i in range(12 * part.per_step)]) == expected
    values = np.array(list(expected.values()))
    assert len(set(values.tolist())) == len(values) and values.min() >= 0 and values.max() < 1 and abs(values.mean() - 0.5) < 0.1


def test_masks_may_be_made_as_electra_makes_them(shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path, "convbert", corruption="electra")
    made = MicroBatches(plan.train, plan.batches, global_batch=8, micro_batch=8)
    batches = [made.make(i) for i in range(60)]
    seen = np.concatenate([batch["input_ids"].reshape(-1)[batch["masked_positions"]] for batch in batches])
    labels = np.concatenate([batch["masked_labels"] for batch in batches])
    masked = seen == plan.batches.special_ids.mask
    assert (seen[~masked] == labels[~masked]).all()
    assert masked.mean() == pytest.approx(0.85, abs=4 * (0.85 * 0.15 / len(seen)) ** 0.5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_encoder_sees_samples_at_masks_and_learns_which_are_wrong(architecture: str, shards: Path, tmp_path: Path) -> None:
    batch = micro_batches(shards, tmp_path).make(0)
    paddle.seed(1)
    model = RTDModel(network(architecture))
    model.eval()
    given = tensors(batch)
    found = model(*(given[name] for name in ReplacedTokens.keys))
    drawn = sample(found.mlm_logits_MV, given["draws"]).numpy()
    replaced = found.replaced_BL.numpy().reshape(-1)
    expected = np.zeros_like(replaced)
    expected[batch["masked_positions"]] = drawn != batch["masked_labels"]
    np.testing.assert_array_equal(replaced, expected)
    assert replaced.sum() > 5 and found.is_real_BL.numpy().sum() == batch["lengths"].sum()
    seen = batch["input_ids"].reshape(-1).copy()
    seen[batch["masked_positions"]] = drawn
    types, sizes = given["token_type_ids"], given["lengths"]
    again = model.discriminator_predictions(model.encoder(paddle.to_tensor(seen.reshape(batch["input_ids"].shape)), types, sizes))
    np.testing.assert_allclose(found.logits_BL.numpy(), again.numpy(), atol=1e-6)

    logits, real = found.logits_BL.numpy().astype(np.float64), found.is_real_BL.numpy()
    labels = found.replaced_BL.numpy()
    terms = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - logits * labels
    tokens, masks = int(real.sum()), len(drawn)
    shares = ReplacedTokens().shares(model, given, (masks, 0, tokens))
    assert float(shares.rtd) == pytest.approx((terms * real).sum() / tokens, rel=1e-5)
    assert float(shares.loss) == pytest.approx(float(shares.lm) + RTD_WEIGHT * float(shares.rtd), rel=1e-6)
    sums = ReplacedTokens().sums(model, given)
    assert sums[6] / sums[7] == pytest.approx(float(shares.rtd), rel=1e-5) and sums[7] == tokens
    assert sums[8] == (((logits > 0) == labels) & real).sum() and sums[1] == masks


def test_detection_gives_the_generators_own_layers_no_gradient(shards: Path, tmp_path: Path) -> None:
    paddle.seed(1)
    model = RTDModel(network("convbert"))
    given = tensors(micro_batches(shards, tmp_path).make(0))
    ReplacedTokens().shares(model, given, (10, 0, 100)).rtd.backward()
    for name, parameter in model.named_parameters():
        if name.endswith("k_proj.bias"):
            continue  # adds the same to all scores of a row, which softmax does not see: its gradient is rounding
        reached = parameter.grad is not None and bool((parameter.grad != 0).any())
        if name.endswith("k_proj.bias"):  # a softmax does not see what all its scores have in common: 0 but for rounding
            continue
        assert reached == (not name.startswith("generator")), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_without_masks_are_those_of_unreplaced_tokens(architecture: str, shards: Path, tmp_path: Path) -> None:
    batch = micro_batches(shards, tmp_path).make(0)
    empty = {name: batch[name][:0] for name in ("masked_positions", "masked_labels", "draws")}
    model = RTDModel(network(architecture))
    shares = ReplacedTokens().shares(model, tensors(batch | empty), (1, 0, int(batch["lengths"].sum())))
    assert float(shares.lm) == 0.0 and 0.5 < float(shares.rtd) < 1.0
    shares.loss.backward()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_trains_logs_evaluates_and_resumes_to_the_same_bytes(architecture: str, shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path / "whole", architecture)
    trainer = new_trainer(plan)
    result = trainer.run()
    records = [record for record in read_metrics(plan.folder) if "eval" not in record]
    assert all(r["loss"] == pytest.approx(r["lm_loss"] + RTD_WEIGHT * r["rtd_loss"]) and r["sop_loss"] == 0 for r in records)
    assert records[-1]["lm_loss"] < records[0]["lm_loss"] and records[-1]["rtd_loss"] < records[0]["rtd_loss"]
    evaluation = result.figures["eval"]
    assert 0 < evaluation["rtd_loss"] < 1 and 0 < evaluation["rtd_accuracy"] <= 1 and evaluation["sop_loss"] is None
    assert result.figures["rtd_loss"] == records[-1]["rtd_loss"]

    again = plan_of(shards, tmp_path / "parts", architecture)
    stops = iter([None] * 4 + [2])
    new_trainer(again).run(lambda: next(stops))
    assert new_trainer(again).run().checkpoint.fingerprint == result.checkpoint.fingerprint


def test_gradients_do_not_depend_on_how_a_batch_is_cut(shards: Path, tmp_path: Path) -> None:
    found = []
    for micro_batch in (8, 3):
        plan = plan_of(shards, tmp_path / str(micro_batch), "convbert", micro_batch=micro_batch)
        trainer = new_trainer(replace(plan, network=network("convbert")))
        batches = [tensors(trainer.batches.make(i)) for i in range(trainer.batches.per_step)]
        counts = tuple(int(n) for n in np.sum([batch["counts"].numpy() for batch in batches], axis=0))
        losses = trainer.backward(1, batches, counts).numpy()
        found.append((losses, {name: g.numpy() for name, g in trainer.optimizer.gradients().items()}))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    for name, gradient in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], gradient, atol=2e-5, err_msg=name)  # the detection loss counts 50-fold
