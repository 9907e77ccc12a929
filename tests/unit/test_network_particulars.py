"""What is particular to each network: references in numpy, windows that stop at borders, positions, sizes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.config import ARCHITECTURES, ModelConfig
from pretrain.models import MODELS, model_config
from pretrain.plan import make_plan
from shards.errors import WordloomError
from tests.helpers.small_networks import HIDDEN, LENGTHS, arrays, batch, make_encoder, small
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import tiny_config

import paddle  # isort: skip  # after the helpers, which start it

from pretrain.encoders import build_encoder
from pretrain.heads import PretrainingModel

# --- RoFormerV2 ---


def reference_v2(ids: np.ndarray, types: np.ndarray, w: dict[str, np.ndarray], config: ModelConfig) -> np.ndarray:
    """One sentence, without padding, loops for positions and pairs, float64."""

    def norm(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)

    def turn(x: np.ndarray) -> np.ndarray:
        pairs = x[:, 0::2] + 1j * x[:, 1::2]
        size = x.shape[1]
        for position in range(len(pairs)):
            for i in range(size // 2):
                pairs[position, i] *= np.exp(1j * position * 10000 ** (-2 * i / size))
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    x = norm(w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][types])
    for n in range(config.num_layers):
        block, size, heads = f"encoder.layers.{n}", config.head_size, []
        q, k, v = (x @ w[f"{block}.self_attn.{p}_proj.weight"] for p in "qkv")
        for begin in range(0, config.hidden_size, size):
            part = slice(begin, begin + size)
            scores = turn(q[:, part]) @ turn(k[:, part]).T / math.sqrt(size)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(shares / shares.sum(-1, keepdims=True) @ v[:, part])
        x = norm(x + np.concatenate(heads, -1) @ w[f"{block}.self_attn.out_proj.weight"])
        x = norm(x + np.maximum(x @ w[f"{block}.linear1.weight"], 0) @ w[f"{block}.linear2.weight"])
    return x


@pytest.mark.parametrize("lengths", [[9, 9], LENGTHS], ids=["unpadded", "padded"])
@pytest.mark.parametrize("recording", [False, True], ids=["evaluating", "training"])
def test_roformer_v2_equals_the_numpy_reference(lengths: list[int], recording: bool) -> None:
    config = small("roformer_v2")
    paddle.seed(4)
    model = PretrainingModel(config)
    for parameter in model.parameters():
        parameter.set_value(parameter * 3)
    inputs = batch(config, lengths)
    ids, types, _ = arrays(inputs)
    width = max(lengths)
    with paddle.set_grad_enabled(recording):
        hidden = model.encoder(*inputs).numpy()
        logits, order = model(*inputs, paddle.arange(len(lengths) * width))
    w = {name.removeprefix("roformerv2."): t.numpy().astype(np.float64) for name, t in model.state_dict().items()}
    assert not [name for name in w if "bias" in name or "norm" in name or "pooler" in name]
    for row, size in enumerate(lengths):
        expected = reference_v2(ids[row, :size], types[row, :size], w, config)
        apart = np.abs(hidden[row, :size] - expected)
        assert apart.max() <= 1e-5 and apart.mean() <= 1e-6
        found = logits.numpy().reshape(len(lengths), width, -1)[row, :size]
        assert np.abs(found - expected @ w["embeddings.word_embeddings.weight"].T).max() <= 1e-5
        assert np.abs(order.numpy()[row] - expected[0] @ w["cls.seq_relationship.weight"]).max() <= 1e-5


def test_initial_weights_of_roformer_v2_shrink_with_width_and_depth() -> None:
    # vocab_size between 10 and 10,000 is where bert4keras would take the vocabulary for the width
    config = small(
        "roformer_v2", hidden_size=256, embedding_size=256, num_heads=4, intermediate_size=1024, num_layers=4, vocab_size=800
    )
    paddle.seed(1)
    for name, tensor in build_encoder(config).state_dict().items():
        value = tensor.numpy()
        fan_in = 256 if "embeddings" in name else value.shape[0]
        sd = 1 / math.sqrt(fan_in * 4)
        assert value.std() == pytest.approx(sd, rel=0.1 if "token_type" in name else 0.02), name
        assert 1.9 < np.abs(value).max() / (1.13684723 * sd) <= 2.0001, name


# --- BERT and RoBERTa ---


def test_roberta_counts_positions_from_behind_the_padding_id() -> None:
    for pad_id in (0, 1, 3):
        config = small("roberta", pad_id=pad_id)
        encoder = make_encoder(config)
        table = encoder.embeddings.position_embeddings
        assert table.weight.shape == [64 + pad_id + 1, HIDDEN]
        asked: list[np.ndarray] = []
        table.register_forward_pre_hook(lambda _, given: asked.append(given[0].numpy()))  # noqa: B023
        encoder(*batch(config, [4, 2]))
        assert asked[0].tolist() == [[pad_id + i for i in (1, 2, 3, 4)], [pad_id + i for i in (1, 2, 0, 0)]]


def test_bert_counts_positions_from_0() -> None:
    encoder = make_encoder(config := small("bert"))
    asked: list[np.ndarray] = []
    encoder.embeddings.position_embeddings.register_forward_pre_hook(lambda _, given: asked.append(given[0].numpy()))
    encoder(*batch(config, [3, 2]))
    assert asked[0].tolist() == [[0, 1, 2], [0, 1, 2]] and config.position_rows == 64


def test_a_network_with_one_token_type_takes_any_pair() -> None:
    encoder = make_encoder(config := small("roberta"))
    ids, types, sizes = batch(config, [5, 3])
    np.testing.assert_array_equal(encoder(ids, types, sizes).numpy(), encoder(ids, types + 1, sizes).numpy())


# --- ConvBERT ---


def reference_convolution(x: np.ndarray, w: dict[str, np.ndarray], config: ModelConfig) -> np.ndarray:
    """The convolution heads of one layer over one sentence, with loops; float64."""
    heads, size, width = config.attention_heads, config.head_size, config.conv_kernel_size
    reach = width // 2
    length = len(x)
    kernel = w["key_conv_attn_layer.depthwise.weight"][:, 0]
    span = np.zeros_like(x)
    for t in range(length):
        for k in range(width):
            if 0 <= t + k - reach < length:
                span[t] += x[t + k - reach] * kernel[:, k]
    key = span @ w["key_conv_attn_layer.pointwise.weight"][..., 0].T + w["key_conv_attn_layer.bias"]
    query = x @ w["q_proj.weight"] + w["q_proj.bias"]
    scores = ((key * query) @ w["conv_kernel_layer.weight"] + w["conv_kernel_layer.bias"]).reshape(length, heads, width)
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    values = (x @ w["conv_out_layer.weight"] + w["conv_out_layer.bias"]).reshape(length, heads, size)
    out = np.zeros_like(values)
    for t in range(length):
        for k in range(width):
            if 0 <= t + k - reach < length:
                out[t] += shares[t, :, k, None] * values[t + k - reach]
    return out.reshape(length, -1)


@pytest.mark.parametrize("head_ratio", [2, 4, 8])
def test_convolution_heads_equal_the_numpy_reference(head_ratio: int) -> None:
    config = small("convbert", embedding_size=HIDDEN, head_ratio=head_ratio)
    encoder = make_encoder(config)
    layer = encoder.encoder.layers[0].self_attn
    assert (config.attention_heads, config.head_size) == {2: (2, 6), 4: (1, 12), 8: (1, 12)}[head_ratio]
    joined: list[np.ndarray] = []
    layer.out_proj.register_forward_pre_hook(lambda _, given: joined.append(given[0].numpy()))
    inputs = batch(config, LENGTHS)
    encoder(*inputs)
    embedded = encoder.embeddings(inputs[0], inputs[1], paddle.arange(16).unsqueeze(0)).numpy().astype(np.float64)
    w = {name: t.numpy().astype(np.float64) for name, t in layer.state_dict().items()}
    for row, size in enumerate(LENGTHS):
        expected = reference_convolution(embedded[row, :size], w, config)
        assert np.abs(joined[0][row, :size, HIDDEN // 2 :] - expected).max() <= 1e-5


@pytest.mark.parametrize("variant", ["convbert", "convbert, grouped"])
def test_documents_packed_into_a_row_have_the_states_they_have_alone(variant: str) -> None:
    encoder = make_encoder(config := small(variant))
    parts = [arrays(batch(config, [size], seed=size)) for size in (6, 3, 1, 9)]
    packed = [np.concatenate([part[i] for part in parts], 1) for i in (0, 1)]
    packed = [np.pad(a, ((0, 0), (0, 5))) for a in packed]
    documents = np.array([[0] * 6 + [1] * 3 + [2] + [3] * 9 + [4] * 5])
    inputs = [paddle.to_tensor(a) for a in (*packed, np.array([19]))]
    together = encoder(*inputs, documents_BL=paddle.to_tensor(documents)).numpy()[0]
    at = 0
    for part in parts:
        alone = encoder(*(paddle.to_tensor(a) for a in part)).numpy()[0]
        assert np.abs(together[at : at + len(alone)] - alone).max() <= 1e-5
        at += len(alone)
    assert np.abs(encoder(*inputs).numpy()[0, :19] - together[:19]).max() > 1e-2


def test_convolution_reads_padding_only_where_published_weights_need_it() -> None:
    def last_real_token(sees_padding: bool, padding: int) -> np.ndarray:
        encoder = make_encoder(config := small("convbert", conv_sees_padding=sees_padding))
        ids, types, sizes = arrays(batch(config, [6]))
        ids, types = (np.pad(a, ((0, 0), (0, padding))) for a in (ids, types))
        hidden: np.ndarray = encoder(*(paddle.to_tensor(a) for a in (ids, types, sizes))).numpy()[0, 5]
        return hidden

    assert np.abs(last_real_token(False, 0) - last_real_token(False, 6)).max() <= 1e-5
    assert np.abs(last_real_token(True, 0) - last_real_token(True, 6)).max() > 1e-3


# --- configs and names ---


def test_named_sizes_are_the_published_ones() -> None:
    assert set(MODELS) == {
        "roformer-tiny", "roformer-small", "roformer-base", "roformer-char-base", "roformer-v2-small", "roformer-v2-base",
        "roformer-v2-large", "bert-base", "roberta-base", "roberta-large", "convbert-small", "convbert-medium-small",
        "convbert-base",
    }  # fmt: skip
    assert {size.architecture for size in MODELS.values()} == set(ARCHITECTURES)
    for name in MODELS:
        config = model_config(name, 8000, pad_id=1)
        assert (config.vocab_size, config.pad_id) == (8000, 1)
        assert ModelConfig.from_json(config.to_json()) == config
    roberta = model_config("roberta-base", 50265, pad_id=1)
    assert (roberta.position_rows, roberta.type_vocab_size, roberta.layer_norm_eps) == (514, 1, 1e-5)
    medium = model_config("convbert-medium-small", 30522)
    assert (medium.hidden_size, medium.embedding_size, medium.num_heads, medium.attention_heads, medium.head_size) == (
        384,
        128,
        8,
        4,
        48,
    )
    assert (medium.num_groups, medium.conv_kernel_size, medium.head_ratio, medium.conv_sees_padding) == (2, 9, 2, False)


def test_training_takes_every_name(tmp_path: Path) -> None:
    shards = write_tiny_data(tmp_path / "tiny")
    for name in MODELS:
        plan = make_plan(tiny_config(shards, tmp_path, model=name, name=None), verify=False, say=lambda _: None)
        assert plan.network == model_config(name, 64) and plan.folder.name.startswith(name)


def test_published_numbers_of_weights() -> None:
    def count(name: str, vocab_size: int) -> int:
        # transformers' and PaddleNLP's: the encoder with its pooler
        config = model_config(name, vocab_size, pad_id=1)
        shapes = {n: p.shape for n, p in PretrainingModel(config).named_parameters() if n.startswith(config.prefix)}
        return sum(math.prod(shape) for shape in shapes.values())

    assert count("bert-base", 30522) == 109_482_240
    assert count("roberta-base", 50265) == 124_645_632


@pytest.mark.parametrize(
    ("variant", "changes", "words"),
    [
        ("bert", {"num_heads": 5}, ["hidden_size 24", "num_heads 5"]),
        ("roformer_v2", {"num_heads": 8}, ["odd size 3"]),
        ("bert", {"architecture": "brt"}, ["'brt'", "Did you mean 'bert'"]),
        ("bert", {"embedding_size": 12}, ["embedding_size 12", "hidden_size 24", "convbert"]),
        ("bert", {"head_ratio": 4}, ["head_ratio 4", "'bert'"]),
        ("roformer", {"conv_sees_padding": True}, ["conv_sees_padding", "'roformer'"]),
        ("roformer_v2", {"pool_act": "linear"}, ["pool_act", "'roformer_v2'"]),
        ("bert", {"pool_act": "relu"}, ["pool_act", "tanh", "'relu'"]),
        ("convbert", {"conv_kernel_size": 4}, ["conv_kernel_size", "odd", "4"]),
        ("convbert", {"intermediate_size": 41, "num_groups": 2}, ["intermediate_size 41", "num_groups 2"]),
        ("convbert", {"hidden_size": 28, "embedding_size": 28, "num_heads": 4, "head_ratio": 1}, ["28", "twice 4"]),
        ("convbert", {"num_groups": 0}, ["num_groups", "0"]),
    ],
)  # fmt: skip
def test_a_config_that_makes_no_network_is_refused(variant: str, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(WordloomError) as caught:
        small(variant, **changes)
    assert not [word for word in words if word not in f"{caught.value} {caught.value.hint}"]


def test_a_config_is_written_without_what_means_nothing_to_it() -> None:
    convolution = {"head_ratio", "conv_kernel_size", "num_groups", "conv_sees_padding"}
    assert set(small("convbert").to_json()) - set(small("bert").to_json()) == convolution
    assert set(small("roformer").to_json()) - set(small("bert").to_json()) == {"rotary_value"}
    assert set(small("bert").to_json()) - set(small("roformer_v2").to_json()) == {"pool_act"}
