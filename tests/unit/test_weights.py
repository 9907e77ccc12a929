"""Tensors on disk: exact, reproducible, and strict about what belongs where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.config import ModelConfig
from pretrain.environment import start
from pretrain.errors import WeightsError
from pretrain.weights import load_into, load_weights, named_weights, save_weights
from shards.errors import NotFoundError

start("cpu")

import paddle  # noqa: E402

from pretrain.encoders import build_encoder  # noqa: E402
from pretrain.heads import PretrainingModel, SequenceClassifier  # noqa: E402

CONFIG = ModelConfig(
    vocab_size=30, hidden_size=8, embedding_size=8, num_layers=1, num_heads=2, intermediate_size=12, max_positions=16
)


def make(seed: int) -> PretrainingModel:
    paddle.seed(seed)
    return PretrainingModel(CONFIG)


def some_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "weight": random.normal(size=(3, 5)).astype(np.float32),
        "half": random.normal(size=7).astype(np.float16),
        "power": np.array(0.999, dtype=np.float64),
        "step": np.array(7, dtype=np.int64),
        "nothing": np.zeros((0, 4), dtype=np.float32),
        "extremes": np.array([np.inf, -0.0, np.finfo(np.float32).tiny / 2, 3.4e38], dtype=np.float32),
    }


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_tensors_come_back_exactly(tmp_path: Path) -> None:
    digest = save_weights(tmp_path / "w.safetensors", some_tensors())
    assert digest.size == (tmp_path / "w.safetensors").stat().st_size
    assert_same(load_weights(tmp_path / "w.safetensors"), some_tensors())


def test_equal_tensors_give_equal_bytes_in_any_order_and_layout(tmp_path: Path) -> None:
    tensors = some_tensors()
    shuffled = dict(reversed(tensors.items())) | {"weight": np.asfortranarray(tensors["weight"])}
    first, second = save_weights(tmp_path / "1", tensors), save_weights(tmp_path / "2", shuffled)
    assert first == second
    tensors["weight"][0, 0] += 1
    assert save_weights(tmp_path / "3", tensors).sha256 != first.sha256


def test_a_model_comes_back_exactly(tmp_path: Path) -> None:
    source, target = make(1), make(2)
    save_weights(tmp_path / "w", named_weights(source))
    assert (
        named_weights(target)["roformer.pooler.dense.weight"].tolist()
        != named_weights(source)["roformer.pooler.dense.weight"].tolist()
    )
    load_into(target, load_weights(tmp_path / "w"))
    assert_same(named_weights(target), named_weights(source))


@pytest.mark.parametrize("damage", ["cut", "cut header", "empty", "pickle", "huge header", "beyond the end"])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, some_tensors())
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "cut header": data[:20],
            "empty": b"",
            "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.",
            "huge header": (2**62).to_bytes(8, "little") + data[8:],
            "beyond the end": data.replace(b"[0,8]", b"[0,9]"),
        }[damage]
    )
    assert path.read_bytes() != data
    with pytest.raises(WeightsError, match=r"w\.safetensors: not readable as safetensors"):
        load_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.safetensors"):
        load_weights(tmp_path / "absent.safetensors")


def test_missing_unexpected_and_mis_shaped_tensors_are_named_and_nothing_changes() -> None:
    weights, target = named_weights(make(1)), make(2)
    before = named_weights(target)
    del weights["roformer.pooler.dense.bias"]
    weights["cls.predictions.extra"] = np.zeros(3, dtype=np.float32)
    weights["roformer.embeddings.word_embeddings.weight"] = np.zeros((29, 8), dtype=np.float32)
    with pytest.raises(WeightsError) as caught:
        load_into(target, weights, where="step-00000001")
    message = str(caught.value)
    assert message.startswith("step-00000001: 1 missing: roformer.pooler.dense.bias; 1 unexpected: cls.predictions.extra; ")
    assert "1 mis-shaped: roformer.embeddings.word_embeddings.weight 29×8 for 30×8" in message
    assert_same(named_weights(target), before)


def test_many_problems_are_counted_not_listed() -> None:
    with pytest.raises(WeightsError, match=r"28 missing: \S+, \S+, \S+, \S+, \S+ and 23 more"):
        load_into(make(2), {"roformer.pooler.dense.bias": np.zeros(8, dtype=np.float32)})


def test_an_integer_tensor_is_no_weight() -> None:
    weights = named_weights(make(1)) | {"roformer.pooler.dense.bias": np.zeros(8, dtype=np.int64)}
    with pytest.raises(WeightsError, match=r"1 not floating: roformer\.pooler\.dense\.bias int64"):
        load_into(make(2), weights)


def test_floating_types_are_converted_to_the_parameters_own() -> None:
    weights, target = named_weights(make(1)), make(2)
    load_into(target, {name: array.astype(np.float16) for name, array in weights.items()})
    assert_same(named_weights(target), {n: a.astype(np.float16).astype(np.float32) for n, a in weights.items()})


def test_a_classifier_takes_the_encoder_of_pretraining_and_keeps_its_own_head() -> None:
    source = named_weights(make(1))
    paddle.seed(3)
    classifier = SequenceClassifier(CONFIG, num_classes=4)
    head = named_weights(classifier)["classifier.weight"]
    load_into(classifier, source, may_lack=("classifier.",), may_ignore=("cls.",))
    loaded = named_weights(classifier)
    np.testing.assert_array_equal(loaded.pop("classifier.weight"), head)
    loaded.pop("classifier.bias")
    assert_same(loaded, {name: array for name, array in source.items() if name.startswith("roformer.")})
    with pytest.raises(WeightsError, match=r"2 missing: classifier\.weight, classifier\.bias"):
        load_into(classifier, source, may_ignore=("cls.",))


def test_prefixes_are_replaced() -> None:
    source, encoder = named_weights(make(1)), build_encoder(CONFIG)
    load_into(encoder, source, prefixes={"roformer.": ""}, may_ignore=("cls.", "pooler."))
    assert_same(
        {f"roformer.{n}": a for n, a in named_weights(encoder).items()},
        {n: source[n] for n in source if n.startswith(("roformer.embeddings", "roformer.encoder"))},
    )
    with pytest.raises(WeightsError, match="one name after renaming"):
        load_into(
            encoder,
            {"a.x": source["cls.seq_relationship.bias"], "b.x": source["cls.seq_relationship.bias"]},
            prefixes={"a.": "", "b.": ""},
        )
