"""The heads and losses of pretraining, and the classifier."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretrain.config import ModelConfig
from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402

from pretrain.heads import PretrainingModel, SequenceClassifier  # noqa: E402
from pretrain.losses import pretraining_losses  # noqa: E402

WIDTH = 12
CONFIG = ModelConfig(
    vocab_size=40, hidden_size=16, embedding_size=10, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32,
    dropout=0.0, attention_dropout=0.0, initializer_range=0.3,
)  # fmt: skip


def make_model(config: ModelConfig = CONFIG) -> PretrainingModel:
    paddle.seed(2)
    model = PretrainingModel(config)
    random = np.random.default_rng(2)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.set_value((parameter.numpy() + random.normal(0, 0.2, parameter.shape)).astype("float32"))
    return model


def make_batch(rows: int = 4, masked: int = 9, *, pairs: bool = True) -> dict[str, np.ndarray]:
    random = np.random.default_rng(rows)
    return {
        "input_ids": random.integers(1, 40, (rows, WIDTH)),
        "token_type_ids": random.integers(0, 2, (rows, WIDTH)),
        "lengths": random.integers(8, WIDTH + 1, rows),
        "masked_positions": np.sort(random.choice(rows * 8, masked, replace=False)) // 8 * WIDTH + np.arange(masked) % 8,
        "masked_labels": random.integers(0, 40, masked),
        "sop_labels": random.integers(0, 2, rows) if pairs else np.full(rows, -100),
    }


def run(model: PretrainingModel, batch: dict[str, np.ndarray]) -> tuple[paddle.Tensor, paddle.Tensor]:
    names = ("input_ids", "token_type_ids", "lengths", "masked_positions")
    logits = model(*(paddle.to_tensor(batch[name]) for name in names))
    return logits[0], logits[1]


def losses(model: PretrainingModel, batch: dict[str, np.ndarray]):
    mlm_logits, sop_logits = run(model, batch)
    return pretraining_losses(
        mlm_logits, paddle.to_tensor(batch["masked_labels"]), sop_logits, paddle.to_tensor(batch["sop_labels"])
    )


def gradients(model: PretrainingModel) -> dict[str, np.ndarray]:
    return {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters() if parameter.grad is not None}


def numpy_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    terms = np.log(np.exp(logits).sum(-1))[labels >= 0] - logits[labels >= 0, labels[labels >= 0]]
    return float(terms.sum())


def test_logits_follow_from_hidden_states_as_specified() -> None:
    model, batch = make_model(), make_batch()
    model.eval()
    mlm_logits, sop_logits = run(model, batch)
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in model.state_dict().items()}
    inputs = [paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids", "lengths")]
    hidden = model.encoder(*inputs).numpy().astype(np.float64).reshape(-1, 16)

    x = hidden[batch["masked_positions"]] @ w["cls.predictions.transform.weight"] + w["cls.predictions.transform.bias"]
    x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    x = x * w["cls.predictions.layer_norm.weight"] + w["cls.predictions.layer_norm.bias"]
    expected = x @ w["roformer.embeddings.word_embeddings.weight"].T + w["cls.predictions.decoder_bias"]
    assert mlm_logits.shape == [9, 40]
    assert np.abs(mlm_logits.numpy() - expected).max() <= 1e-5

    pooled = np.tanh(hidden[::WIDTH] @ w["roformer.pooler.dense.weight"] + w["roformer.pooler.dense.bias"])
    expected = pooled @ w["cls.seq_relationship.weight"] + w["cls.seq_relationship.bias"]
    assert sop_logits.shape == [4, 2]
    assert np.abs(sop_logits.numpy() - expected).max() <= 1e-5


def test_weights_of_the_heads_are_named_as_paddlenlp_names_them() -> None:
    names = {name for name in make_model().state_dict() if not name.startswith(("roformer.encoder.", "roformer.embeddings"))}
    layers = ("roformer.pooler.dense", "cls.predictions.transform", "cls.predictions.layer_norm", "cls.seq_relationship")
    assert names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")} | {"cls.predictions.decoder_bias"}


def test_losses_are_sums_that_ignore_minus_100() -> None:
    random = np.random.default_rng(0)
    mlm_logits, sop_logits = random.normal(size=(7, 40)).astype("float32"), random.normal(size=(5, 2)).astype("float32")
    mlm_labels, sop_labels = random.integers(0, 40, 7), np.array([1, -100, 0, 0, -100])
    mlm_labels[2], mlm_labels[3] = -100, mlm_logits[3].argmax()
    found = pretraining_losses(*(paddle.to_tensor(a) for a in (mlm_logits, mlm_labels, sop_logits, sop_labels)))
    assert float(found.mlm_sum) == pytest.approx(numpy_cross_entropy(mlm_logits, mlm_labels), rel=1e-5)
    assert float(found.sop_sum) == pytest.approx(numpy_cross_entropy(sop_logits, sop_labels), rel=1e-5)
    assert (int(found.mlm_count), int(found.sop_count)) == (6, 3)
    assert int(found.mlm_correct) == (mlm_logits.argmax(-1) == mlm_labels).sum() >= 1
    assert int(found.sop_correct) == (sop_logits.argmax(-1) == sop_labels).sum()


def test_labels_of_a_batch_without_masks_or_pairs_give_exact_zeros() -> None:
    model = make_model()
    found = losses(model, make_batch(masked=0, pairs=False))
    assert [float(value) for value in found] == [0.0] * 6
    (found.mlm_sum + found.sop_sum).backward()
    given = gradients(model)
    assert set(given) == set(model.state_dict())
    for name, gradient in given.items():
        assert (gradient == 0).all(), name


def test_without_pairs_only_the_masked_tokens_give_gradients() -> None:
    model = make_model()
    found = losses(model, make_batch(pairs=False))
    assert float(found.sop_sum) == 0.0 and float(found.mlm_sum) > 0
    (found.mlm_sum + found.sop_sum).backward()
    given = gradients(model)
    assert (given["cls.seq_relationship.weight"] == 0).all() and (given["roformer.pooler.dense.weight"] == 0).all()
    assert np.isfinite(np.concatenate([g.ravel() for g in given.values()])).all()
    assert np.abs(given["roformer.embeddings.word_embeddings.weight"]).max() > 0


def test_sums_over_micro_batches_give_the_gradients_of_the_whole_batch() -> None:
    whole = make_batch(rows=4)
    tokens = len(whole["masked_labels"])
    model = make_model()
    found = losses(model, whole)
    (found.mlm_sum / tokens + found.sop_sum / 4).backward()
    expected, total = gradients(model), float(found.mlm_sum)
    model.clear_gradients()
    partial = 0.0
    for rows in (slice(0, 1), slice(1, 4)):
        of_rows = (whole["masked_positions"] // WIDTH >= rows.start) & (whole["masked_positions"] // WIDTH < rows.stop)
        micro = {name: whole[name][rows] for name in ("input_ids", "token_type_ids", "lengths", "sop_labels")}
        micro["masked_positions"] = whole["masked_positions"][of_rows] - rows.start * WIDTH
        micro["masked_labels"] = whole["masked_labels"][of_rows]
        found = losses(model, micro)
        (found.mlm_sum / tokens + found.sop_sum / 4).backward()
        partial += float(found.mlm_sum)
    assert partial == pytest.approx(total, rel=1e-6)
    for name, gradient in gradients(model).items():
        assert np.abs(gradient - expected[name]).max() <= 1e-6, name


def test_a_model_can_learn_its_batch() -> None:
    model, batch = make_model(), make_batch()
    optimizer = paddle.optimizer.AdamW(1e-2, parameters=model.parameters())
    for _ in range(60):
        found = losses(model, batch)
        (found.mlm_sum / 9 + found.sop_sum / 4).backward()
        optimizer.step()
        optimizer.clear_grad()
    found = losses(model, batch)
    assert (int(found.mlm_correct), int(found.sop_correct)) == (9, 4)


def test_classifier_reads_the_pooled_first_token() -> None:
    paddle.seed(0)
    model = SequenceClassifier(CONFIG, num_classes=3, dropout=0.5)
    batch = make_batch()
    inputs = [paddle.to_tensor(batch[n]) for n in ("input_ids", "token_type_ids", "lengths")]
    model.eval()
    w = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    first = model.encoder(*inputs).numpy()[:, 0]
    pooled = np.tanh(first @ w["roformer.pooler.dense.weight"] + w["roformer.pooler.dense.bias"])
    logits = model(*inputs).numpy()
    assert np.abs(logits - (pooled @ w["classifier.weight"] + w["classifier.bias"])).max() <= 1e-5
    model.train()
    paddle.seed(1)
    assert np.abs(model(*inputs).numpy() - logits).max() > 1e-3


def test_classifier_shares_all_encoder_names_with_the_pretraining_model() -> None:
    pretraining = {name for name in PretrainingModel(CONFIG).state_dict() if name.startswith("roformer.")}
    classifier = set(SequenceClassifier(CONFIG, num_classes=2).state_dict())
    assert classifier == pretraining | {"classifier.weight", "classifier.bias"}
