"""Samples packed into rows train like samples in rows of their own: the same logits, the same losses, the same proofs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.batch_digests import batch_digests
from pretrain.checkpoint import step_folder, verify_checkpoint
from pretrain.config import ModelConfig
from pretrain.data_plan import describe
from pretrain.loader import INPUT_KEYS, MicroBatches
from pretrain.replay import read_recorded, replay_step
from shards.collate import collate
from tests.helpers.tiny_data import VOCAB_SIZE, write_tiny_data
from tests.helpers.tiny_training import new_trainer, start_paddle, tiny_config, tiny_network, tiny_plan

VARIANTS: dict[str, dict[str, Any]] = {
    "roformer": {"architecture": "roformer", "rotary_value": True},
    "roformer_v2": {"architecture": "roformer_v2"},
    "bert": {"architecture": "bert"},
    "roberta": {"architecture": "roberta"},
    "convbert": {"architecture": "convbert", "num_heads": 4},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("data") / "short", rows=40, max_seq_len=32, shortest=4)


def network(variant: str) -> ModelConfig:
    settings: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE, "hidden_size": 16, "embedding_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 32,
        "max_positions": 64, "dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.3,
    }  # fmt: skip
    return ModelConfig(**(settings | VARIANTS[variant]))


def both(shards: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a batch of packed rows, and one of the same samples in rows of their own."""
    plan = tiny_plan(tiny_config(shards, out, packing=True))
    batches = MicroBatches(plan.train, plan.batches, global_batch=6, micro_batch=6, draws=True, drawing=plan.drawing)
    drawn = batches.sampler.draw(1)
    assert len(drawn.rows) > 8, "rows hold several samples"
    apart = collate(plan.train.take(drawn.rows), drawn.epochs, plan.batches)
    packed = batches.make(0)
    return packed, dict(apart) | {"draws": packed["draws"]}


def test_a_packed_sample_has_the_digest_of_a_row_of_its_own(shards: Path, tmp_path: Path) -> None:
    packed, apart = both(shards, tmp_path)
    digests = batch_digests(packed)
    assert digests == batch_digests(apart) and len(set(digests)) == len(packed["sample_ids"])
    other = packed["masked_labels"].copy()
    other[-1] += 1
    changed = batch_digests(packed | {"masked_labels": other})
    assert changed[:-1] == digests[:-1] and changed[-1] != digests[-1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_samples_have_the_logits_of_rows_of_their_own(shards: Path, tmp_path: Path, variant: str) -> None:
    start_paddle()
    import paddle

    from pretrain.heads import PretrainingModel

    packed, apart = both(shards, tmp_path)
    paddle.seed(4)
    model = PretrainingModel(network(variant))
    model.eval()
    more = [paddle.to_tensor(packed[name]) for name in ("documents", "first_positions")]
    found = model(*(paddle.to_tensor(packed[name]) for name in INPUT_KEYS), *more)
    expected = model(*(paddle.to_tensor(apart[name]) for name in INPUT_KEYS))
    assert np.array_equal(packed["masked_labels"], apart["masked_labels"])
    assert np.array_equal(packed["sop_labels"], apart["sop_labels"]) and len(packed["sop_labels"]) > len(packed["lengths"])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-5)


@pytest.mark.parametrize("variant", ["roformer", "convbert"])
def test_detection_sees_the_same_in_packed_rows(shards: Path, tmp_path: Path, variant: str) -> None:
    start_paddle()
    import paddle

    from pretrain.objectives import ReplacedTokens
    from pretrain.rtd import RTDModel

    packed, apart = both(shards, tmp_path)
    paddle.seed(4)
    model = RTDModel(replace(network(variant), hidden_size=32, num_heads=4, embedding_size=16))
    model.eval()
    losses = [
        ReplacedTokens().shares(model, {n: paddle.to_tensor(a) for n, a in batch.items()}, (10, 1, 100))
        for batch in (packed, apart)
    ]
    for one, other in zip(*losses, strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-5)


@pytest.mark.parametrize(
    "way", [{"packing": True}, {"packing": True, "bins": 2, "mix": "a=3,b=1", "objective": "rtd"}], ids=["packing", "all"]
)
def test_training_is_resumed_to_the_same_bytes_and_replayed(tmp_path: Path, way: dict[str, Any]) -> None:
    for number, name in enumerate("ab"):
        write_tiny_data(tmp_path / "shards" / name, rows=20, shortest=4, seed=number)
    plans = [
        tiny_plan(
            tiny_config(tmp_path / "shards", tmp_path / out, max_steps=8, ngrams=3, corruption="word", last_mask_rate=0.3, **way)
        )
        for out in ("whole", "parts")
    ]
    if way.get("objective") == "rtd":
        net = replace(tiny_network(), hidden_size=32, num_heads=4)
        plans = [tiny_plan(plan.config, net) for plan in plans]
    trainers = [new_trainer(plan) for plan in plans]
    seen: dict[int, Any] = {}
    backward = trainers[0].backward

    def watched(step: int, batches: Any, counts: Any) -> Any:
        seen[step] = [{name: tensor.numpy() for name, tensor in batch.items()} for batch in batches]
        return backward(step, batches, counts)

    trainers[0].backward = watched
    trainers[0].run()
    trainers[1].run(lambda: 15 if trainers[1].state.step >= 5 else None)
    again = new_trainer(plans[1])
    assert again.state.step == 5
    again.run()
    last = [verify_checkpoint(step_folder(plan.folder, 8)).fingerprint for plan in plans]
    assert last[0] == last[1]
    recorded = read_recorded(recorded_run(plans[0]))
    for step, batches in seen.items():
        for found, expected in zip(replay_step(recorded, step), batches, strict=True):
            for name in found.arrays:
                np.testing.assert_array_equal(found.arrays[name], expected[name], err_msg=name)
    assert any(line.startswith("packing: ") and "rows of 32 tokens" in line for line in describe(again.batches.sampler_of(8)))


def recorded_run(plan: Any) -> Path:
    from dataclasses import asdict

    from pretrain.run_state import begin_run

    data = [{"name": s.name, "path": str(s.path), "fingerprint": s.manifest.fingerprint} for s in plan.data_sets]
    begin_run(plan.folder, {
        "config": asdict(plan.config), "schedule": asdict(plan.schedule), "data": data, "ranks": 1, "micro_batch": 4,
        "packing": [packing.hash for packing in plan.drawing.packings],
    })  # fmt: skip
    folder: Path = plan.folder
    return folder
