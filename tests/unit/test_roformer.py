"""The encoder against an independent numpy implementation and against finite differences."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from pretrain.config import ModelConfig
from pretrain.environment import start
from pretrain.errors import ModelError
from pretrain.models import MODELS, model_config
from shards.errors import UsageError

start("cpu")

import paddle  # noqa: E402

from pretrain.encoders import build_encoder  # noqa: E402
from pretrain.layers import dropout  # noqa: E402

LENGTHS = [11, 7, 16, 1]


def tiny(*, embedding_size: int = 24, rotary_value: bool = False, drop: float = 0.0) -> ModelConfig:
    return ModelConfig(
        vocab_size=50, hidden_size=24, embedding_size=embedding_size, num_layers=2, num_heads=3, intermediate_size=40,
        max_positions=64, rotary_value=rotary_value, dropout=drop, attention_dropout=drop, initializer_range=0.3,
    )  # fmt: skip


def batch(lengths: list[int], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    width = max(lengths)
    ids, types = random.integers(1, 50, (len(lengths), width)), random.integers(0, 2, (len(lengths), width))
    padding = np.arange(width)[None, :] >= np.array(lengths)[:, None]
    ids[padding] = 0
    return ids, types, np.array(lengths)


def tensors(*arrays: np.ndarray) -> list[paddle.Tensor]:
    return [paddle.to_tensor(array) for array in arrays]


def weights_of(layer: paddle.nn.Layer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().astype(np.float64) for name, tensor in layer.state_dict().items()}


def make_encoder(config: ModelConfig, seed: int = 3) -> paddle.nn.Layer:
    """An encoder whose biases and norms are not at their initial 0 and 1, which would hide mistakes."""
    paddle.seed(seed)
    encoder = build_encoder(config)
    random = np.random.default_rng(seed)
    for parameter in encoder.parameters():
        if parameter.ndim == 1:
            noise = random.normal(0, 0.2, parameter.shape)
            parameter.set_value((parameter.numpy() + noise).astype(parameter.numpy().dtype))
    encoder.eval()
    return encoder


# --- the reference: one sentence at a time, without padding, loops for positions and pairs, float64 ---


def reference_norm(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


def reference_linear(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def reference_turn(x: np.ndarray) -> np.ndarray:
    turned, size = np.empty_like(x), x.shape[1]
    for position in range(x.shape[0]):
        for i in range(size // 2):
            angle = position * 10000 ** (-2 * i / size)
            a, b = x[position, 2 * i], x[position, 2 * i + 1]
            turned[position, 2 * i] = a * math.cos(angle) - b * math.sin(angle)
            turned[position, 2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
    return turned


def reference(ids: np.ndarray, types: np.ndarray, w: dict[str, np.ndarray], config: ModelConfig) -> np.ndarray:
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][types]
    x = reference_norm(x, w, "embeddings.layer_norm")
    if config.embedding_size != config.hidden_size:
        x = reference_linear(x, w, "embeddings_project")
    for n in range(config.num_layers):
        block, size = f"encoder.layers.{n}", config.head_size
        q, k, v = (reference_linear(x, w, f"{block}.self_attn.{p}_proj") for p in "qkv")
        heads = []
        for start_ in range(0, config.hidden_size, size):
            part = slice(start_, start_ + size)
            values = reference_turn(v[:, part]) if config.rotary_value else v[:, part]
            scores = reference_turn(q[:, part]) @ reference_turn(k[:, part]).T / math.sqrt(size)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(shares / shares.sum(-1, keepdims=True) @ values)
        attended = reference_linear(np.concatenate(heads, -1), w, f"{block}.self_attn.out_proj")
        x = reference_norm(x + attended, w, f"{block}.norm1")
        inner = reference_linear(x, w, f"{block}.linear1")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = reference_norm(x + reference_linear(inner, w, f"{block}.linear2"), w, f"{block}.norm2")
    return x


@pytest.mark.parametrize("rotary_value", [False, True])
@pytest.mark.parametrize("embedding_size", [24, 10])
@pytest.mark.parametrize("lengths", [[9, 9], LENGTHS], ids=["unpadded", "padded"])
@pytest.mark.parametrize("recording", [False, True], ids=["evaluating", "training"])
def test_hidden_states_equal_the_numpy_reference(
    rotary_value: bool, embedding_size: int, lengths: list[int], recording: bool
) -> None:
    config = tiny(embedding_size=embedding_size, rotary_value=rotary_value)
    encoder = make_encoder(config)
    ids, types, sizes = batch(lengths)
    with paddle.set_grad_enabled(recording):
        hidden = encoder(*tensors(ids, types, sizes)).numpy()
    weights = weights_of(encoder)
    for row, size in enumerate(lengths):
        expected = reference(ids[row, :size], types[row, :size], weights, config)
        assert np.abs(hidden[row, :size] - expected).max() <= 1e-5


def test_padding_does_not_change_real_tokens() -> None:
    encoder = make_encoder(tiny())
    ids, types, sizes = batch(LENGTHS)
    wide = [np.pad(a, ((0, 0), (0, 8))) for a in (ids, types)]
    wide[0][:, -8:] = 7  # what stands in the padding must not matter either
    with paddle.no_grad():
        hidden, hidden_wide = encoder(*tensors(ids, types, sizes)), encoder(*tensors(*wide, sizes))
        for row, size in enumerate(LENGTHS):
            alone = encoder(*tensors(ids[row : row + 1, :size], types[row : row + 1, :size], sizes[row : row + 1]))
            for other in (hidden, hidden_wide):
                assert np.abs(alone.numpy()[0] - other.numpy()[row, :size]).max() <= 1e-5


def test_selected_rows_are_those_of_the_whole_batch() -> None:
    encoder = make_encoder(tiny())
    inputs = tensors(*batch(LENGTHS))
    rows = np.array([3, 17, 0, 16, 47])
    whole = encoder(*inputs).numpy().reshape(-1, 24)
    assert np.abs(encoder(*inputs, paddle.to_tensor(rows)).numpy() - whole[rows]).max() <= 1e-6


@pytest.mark.parametrize("embedding_size,rotary_value", [(24, False), (10, True)])
def test_gradients_equal_finite_differences(embedding_size: int, rotary_value: bool) -> None:
    paddle.set_default_dtype("float64")
    try:
        encoder = make_encoder(tiny(embedding_size=embedding_size, rotary_value=rotary_value))
    finally:
        paddle.set_default_dtype("float32")
    inputs = tensors(*batch(LENGTHS))
    rows = paddle.to_tensor([0, 2, 17, 40])
    random = np.random.default_rng(1)
    direction = paddle.to_tensor(random.normal(size=(4, 24)))
    (encoder(*inputs, rows) * direction).sum().backward()
    for name, parameter in encoder.named_parameters():
        value, gradient = parameter.numpy().copy(), parameter.grad.numpy()
        along = random.normal(size=value.shape)

        def at(offset: float) -> float:
            parameter.set_value(value + offset * along)  # noqa: B023
            with paddle.no_grad():
                return float((encoder(*inputs, rows) * direction).sum())

        slope = (at(1e-5) - at(-1e-5)) / 2e-5
        parameter.set_value(value)
        assert slope == pytest.approx(float((gradient * along).sum()), rel=1e-6, abs=1e-6), name


def test_frozen_parameters_get_no_gradient_and_change_no_other() -> None:
    inputs = tensors(*batch(LENGTHS))

    def gradients(frozen: tuple[str, ...]) -> dict[str, np.ndarray | None]:
        encoder = make_encoder(tiny(embedding_size=10))
        for name, parameter in encoder.named_parameters():
            parameter.stop_gradient = name.startswith(frozen)
        encoder(*inputs)[:, 0].square().sum().backward()
        return {n: None if p.grad is None else p.grad.numpy() for n, p in encoder.named_parameters()}

    frozen = ("embeddings", "encoder.layers.0.", "encoder.layers.1.norm1.bias", "encoder.layers.1.linear1.weight")
    whole, partial = gradients(("nothing",)), gradients(frozen)
    assert {n for n, g in partial.items() if g is None} == {n for n in whole if n.startswith(frozen)}
    for name, gradient in partial.items():
        if gradient is not None:
            np.testing.assert_array_equal(gradient, whole[name])


def test_parameters_are_named_as_paddlenlp_names_them() -> None:
    block = [f"self_attn.{p}_proj" for p in ("q", "k", "v", "out")] + ["linear1", "linear2", "norm1", "norm2"]
    layers = ["embeddings.layer_norm", "embeddings_project"] + [f"encoder.layers.{n}.{part}" for n in range(2) for part in block]
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    expected |= {"embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight"}
    assert set(build_encoder(tiny(embedding_size=10)).state_dict()) == expected


_WEIGHTS_HASH = """
import hashlib
from pretrain.environment import start
start("cpu")
import paddle
from pretrain.models import model_config
from pretrain.encoders import build_encoder
paddle.seed(5)
state = build_encoder(model_config("roformer-tiny", 100)).state_dict()
print(hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest())
"""


def test_initial_weights_follow_the_seed_in_any_process_and_are_as_specified() -> None:
    paddle.seed(5)
    state = build_encoder(model_config("roformer-tiny", 100)).state_dict()
    ours = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
    other = subprocess.run([sys.executable, "-c", _WEIGHTS_HASH], capture_output=True, text=True, check=True).stdout
    assert other.strip() == ours
    for name, tensor in state.items():
        value = tensor.numpy()
        if value.ndim == 2:
            assert abs(value.mean()) < 0.003 and value.std() == pytest.approx(0.02, rel=0.05), name
        else:
            assert (value == (1 if "norm" in name and name.endswith("weight") else 0)).all(), name


def test_dropout_drops_at_its_rate_scales_up_and_follows_the_seed() -> None:
    x = paddle.ones([300, 1001])
    paddle.seed(1)
    first, second = dropout(x, 0.1, training=True).numpy(), dropout(x, 0.1, training=True).numpy()
    paddle.seed(1)
    again = dropout(x, 0.1, training=True).numpy()
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert set(np.unique(first)) == {np.float32(0), np.float32(65536 / (65536 - 6554))}
    assert (first == 0).mean() == pytest.approx(0.1, abs=0.003)  # six standard deviations
    assert (first == 0).mean(axis=0).std() == pytest.approx(math.sqrt(0.09 / 300), rel=0.1)
    assert ((first == 0) & (second == 0)).mean() == pytest.approx(0.01, abs=0.002)
    np.testing.assert_array_equal(dropout(x, 0.1, training=False).numpy(), x.numpy())


def test_training_with_dropout_is_a_function_of_the_seed() -> None:
    encoder = make_encoder(tiny(drop=0.2))
    encoder.train()
    inputs = tensors(*batch(LENGTHS))

    def gradient(seed: int) -> bytes:
        encoder.clear_gradients()
        paddle.seed(seed)
        encoder(*inputs).square().sum().backward()
        return b"".join(p.grad.numpy().tobytes() for p in encoder.parameters())

    assert gradient(1) == gradient(1) != gradient(2)


def test_rows_beyond_max_positions_are_refused() -> None:
    with pytest.raises(ModelError, match=r"at most 64 tokens, got 65"):
        make_encoder(tiny())(*tensors(*batch([65])))


@pytest.mark.parametrize(
    "field,value",
    [
        ("num_heads", 5), ("num_heads", 8), ("hidden_size", 0), ("vocab_size", -1), ("num_layers", 1.5), ("dropout", 1.0),
        ("attention_dropout", -0.1), ("pad_id", 50), ("layer_norm_eps", 0.0), ("max_positions", True), ("rotary_value", 1),
        ("dropout", float("nan")), ("vocab_size", "50"),
    ],
)  # fmt: skip
def test_a_config_that_makes_no_network_is_refused_naming_the_value(field: str, value: object) -> None:
    settings = tiny().to_json() | {field: value}
    with pytest.raises(ModelError, match=str(value)) as caught:
        ModelConfig.from_json(settings, where="config.json")
    assert field in str(caught.value) and "config.json" in str(caught.value)


def test_config_round_trips_through_json_and_refuses_unknown_and_missing_fields() -> None:
    config = tiny(embedding_size=10, rotary_value=True)
    assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ModelError, match="unknown field 'experts'"):
        ModelConfig.from_json(config.to_json() | {"experts": 8})
    without = config.to_json()
    del without["num_heads"]
    with pytest.raises(ModelError, match="'num_heads' of a network is missing"):
        ModelConfig.from_json(without)


def test_named_models() -> None:
    assert set(MODELS) >= {"roformer-tiny", "roformer-small", "roformer-base"}
    config = model_config("roformer-small", 12000)
    assert (config.num_layers, config.hidden_size, config.num_heads, config.intermediate_size) == (6, 384, 6, 1536)
    with pytest.raises(UsageError, match="Did you mean 'roformer-small'"):
        model_config("roformer-smal", 12000)
