"""What fine-tuning starts from and what it updates: every pretrained weight arrives, counts, and learns at its rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from finetune.encode import EncodedRows
from pretrain.checkpoint import Contents, write_checkpoint
from pretrain.config import ARCHITECTURES, ModelConfig
from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402

from finetune.initial import choose_start  # noqa: E402
from finetune.networks import depth_of  # noqa: E402
from finetune.settings import Settings  # noqa: E402
from finetune.tasks import TASKS  # noqa: E402
from finetune.train import FineTuning, Scored, eval_line  # noqa: E402
from pretrain.heads import PretrainingModel  # noqa: E402
from pretrain.rtd import RTDModel  # noqa: E402
from pretrain.weights import Tensors, named_weights  # noqa: E402

LAYERS = 2
every_start = pytest.mark.parametrize(
    ("architecture", "pooling"), [*((name, "cls") for name in ARCHITECTURES), ("roformer", "mean")]
)


def config_of(architecture: str) -> ModelConfig:
    return ModelConfig(
        architecture=architecture, vocab_size=30, hidden_size=16, num_layers=LAYERS, num_heads=4, intermediate_size=24,
        embedding_size=8 if architecture in ("roformer", "convbert") else 16, max_positions=16, initializer_range=0.3,
    )  # fmt: skip


def pretrained(config: ModelConfig, model: type[paddle.nn.Layer] = PretrainingModel) -> Tensors:
    """Return weights none of which is a round 0 or 1, as training leaves them."""
    paddle.seed(1)
    random = np.random.default_rng(1)
    weights = named_weights(model(config))
    return {name: (value + random.normal(0, 0.1, value.shape)).astype(np.float32) for name, value in weights.items()}


def tuning(folder: Path, config: ModelConfig, weights: Tensors, *, random: bool = False, **changes: object) -> FineTuning:
    """Return a fine-tuning of SST-2 that starts from a checkpoint with these weights."""
    contents = Contents(
        step=0, model=weights, optimizer=None, state={"tokenizer_hash": "0" * 64}, config=config,
        tokenizer_files={"vocab.txt": b"a\n"},
    )  # fmt: skip
    write_checkpoint(folder, contents)
    settings = Settings(
        **({"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "dropout": 0.0, "encoder_dropout": 0.0} | changes)
    )  # type: ignore[arg-type]
    return FineTuning(TASKS["SST-2"], choose_start(model=str(folder), random_weights=random), settings, 2, say=said)


def said(text: str) -> None:
    assert not text, text  # a start that has everything has nothing to say


def rows() -> EncodedRows:
    """Return four rows of two segments and different lengths, which use every id and every position."""
    lengths = np.array([16, 9, 16, 5])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedRows(
        ids=(np.arange(offsets[-1]) % 29 + 1).astype(np.int32), offsets=offsets, second=lengths // 2,
        labels=np.array([0, 1, 1, 0]), tokens=46, unknown=0, cut=0,
    )  # fmt: skip


def inside(weights: Tensors) -> Tensors:
    return {name: value for name, value in weights.items() if not name.startswith("classifier.")}


@every_start
def test_every_pretrained_weight_is_what_training_starts_from_and_counts(architecture: str, pooling: str, tmp_path: Path) -> None:
    config = config_of(architecture)
    weights = pretrained(config)
    whole = tuning(tmp_path / "whole", config, weights, pooling=pooling)
    begun = named_weights(whole._network)
    for name, value in inside(begun).items():
        np.testing.assert_array_equal(value, weights[name], err_msg=name)
    outputs = whole.outputs(rows())[1]
    for name in inside(begun):
        if name.endswith("k_proj.bias") and architecture in ("bert", "roberta", "convbert"):
            continue  # adds the same to every score of a query, which the softmax takes out again
        with changed(whole, name):
            assert np.abs(whole.outputs(rows())[1] - outputs).max() > 1e-6, name


class changed:
    """For a while, one weight of a network is another."""

    def __init__(self, tuning: FineTuning, name: str) -> None:
        self._tensor = tuning._network.state_dict()[name]

    def __enter__(self) -> None:
        self._value = self._tensor.numpy()
        self._tensor.set_value(self._value + np.random.default_rng(5).normal(0, 0.1, self._value.shape).astype(np.float32))

    def __exit__(self, *error: object) -> None:
        self._tensor.set_value(self._value)


def test_one_changed_tensor_of_the_checkpoint_is_one_changed_tensor_of_the_start(tmp_path: Path) -> None:
    config = config_of("roformer")
    weights = pretrained(config)
    name = "roformer.embeddings.word_embeddings.weight"
    other = {**weights, name: weights[name] + np.float32(0.25)}
    one, two = (named_weights(tuning(tmp_path / folder, config, w)._network) for folder, w in (("a", weights), ("b", other)))
    assert [n for n in one if not np.array_equal(one[n], two[n])] == [name]


def test_replaced_token_detection_gives_its_encoder_and_not_its_generator(tmp_path: Path) -> None:
    config = config_of("roformer")
    weights = pretrained(config, RTDModel)
    begun = inside(named_weights(tuning(tmp_path / "rtd", config, weights, pooling="mean")._network))
    for name, value in begun.items():
        np.testing.assert_array_equal(value, weights[name], err_msg=name)


def test_random_weights_share_nothing_with_the_checkpoint_but_the_head(tmp_path: Path) -> None:
    config = config_of("roformer")
    weights = pretrained(config)
    network, random = (
        named_weights(tuning(tmp_path / str(random), config, weights, random=random)._network) for random in (False, True)
    )
    assert [n for n in network if np.array_equal(network[n], random[n])] == ["classifier.weight", "classifier.bias"]
    assert sorted(network) == sorted(random)


@pytest.mark.parametrize("decay", [1.0, 0.5])
@every_start
def test_one_update_reaches_every_weight_at_its_layers_rate(
    architecture: str, pooling: str, decay: float, tmp_path: Path
) -> None:
    config = config_of(architecture)
    job = tuning(
        tmp_path / "start", config, pretrained(config), pooling=pooling, lr_schedule="constant", warmup=0.0, weight_decay=0.0,
        grad_clip=0.0, layer_decay=decay,
    )  # fmt: skip
    before = named_weights(job._network)
    job.train(rows(), {"": rows()}, logging_steps=100, say=lambda line: None)
    for name, value in named_weights(job._network).items():
        if name.endswith("k_proj.bias") and architecture in ("bert", "roberta", "convbert"):
            continue  # has no gradient, see above
        # AdamW's first update is the learning rate, whatever the gradient is, as long as ε is small beside it.
        rate = float(np.abs(value - before[name]).max()) / 1e-3
        assert rate == pytest.approx(decay ** (LAYERS + 1 - depth_of(name, LAYERS)), rel=0.02), name


def test_the_log_line_of_an_evaluation_is_that_of_the_usual_script() -> None:
    mrpc = {"acc": 0.5, "precision": 0.5, "recall": 1.0, "f1": 0.75, "acc and f1": 0.625}
    assert eval_line([Scored(loss=0.25, metrics={}, logged=mrpc)], 1.5) == (
        "eval loss: 0.250000, acc: 0.5, precision: 0.5, recall: 1.0, f1: 0.75, acc and f1: 0.625, eval done total : 1.5 s"
    )
    mnli = [Scored(loss=1.0, metrics={}, logged={"acc": value}) for value in (0.5, 0.25)]
    assert eval_line(mnli, 2.0) == "eval loss: 1.000000, acc: 0.5, eval loss: 1.000000, acc: 0.25, eval done total : 2.0 s"


@pytest.fixture(autouse=True)
def _restore_seed() -> Iterator[None]:
    yield
    paddle.seed(0)
