"""All networks alike: rows and padding, gradients, fused kernels, names, training, heads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.errors import ModelError
from pretrain.names import weight_names
from tests.helpers.small_networks import HIDDEN, LENGTHS, VARIANTS, arrays, batch, make_encoder, scattered, small
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, tiny_config, tiny_plan

import paddle  # isort: skip  # after the helpers, which start it

from pretrain import fused_rotation
from pretrain.heads import DiscriminatorHead, PretrainingModel, SequenceClassifier, TokenClassifier

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
def test_a_row_has_the_same_states_alone_and_in_a_wide_batch(variant: str) -> None:
    encoder = make_encoder(config := small(variant))
    ids, types, sizes = arrays(batch(config, LENGTHS))
    wide = [np.pad(a, ((0, 0), (0, 8))) for a in (ids, types)]
    wide[0][:, -8:] = 7  # what stands in the padding must not matter
    with paddle.no_grad():
        hidden = encoder(*(paddle.to_tensor(a) for a in (*wide, sizes))).numpy()
        for row, size in enumerate(LENGTHS):
            alone = [ids[row : row + 1, :size], types[row : row + 1, :size], sizes[row : row + 1]]
            expected = encoder(*(paddle.to_tensor(a) for a in alone)).numpy()[0]
            assert np.abs(expected - hidden[row, :size]).max() <= 1e-5


@every_variant
def test_selected_rows_are_those_of_the_whole_batch(variant: str) -> None:
    encoder = make_encoder(config := small(variant))
    inputs = batch(config, LENGTHS)
    rows = np.array([3, 17, 0, 16, 47])
    whole = encoder(*inputs).numpy().reshape(-1, HIDDEN)
    assert np.abs(encoder(*inputs, paddle.to_tensor(rows)).numpy() - whole[rows]).max() <= 2e-6


@every_variant
def test_gradients_equal_finite_differences(variant: str) -> None:
    config = small(variant)
    paddle.set_default_dtype("float64")
    try:
        encoder = make_encoder(config)
    finally:
        paddle.set_default_dtype("float32")
    inputs, rows = batch(config, LENGTHS), paddle.to_tensor([0, 2, 17, 40])
    random = np.random.default_rng(1)
    direction = paddle.to_tensor(random.normal(size=(4, HIDDEN)))
    (encoder(*inputs, rows) * direction).sum().backward()
    for name, parameter in encoder.named_parameters():
        value, gradient = parameter.numpy().copy(), parameter.grad.numpy()
        along = random.normal(size=value.shape)

        def at(offset: float) -> float:
            parameter.set_value(value + offset * along)  # noqa: B023
            with paddle.no_grad():
                return float((encoder(*inputs, rows) * direction).sum())

        slope = (at(1e-6) - at(-1e-6)) / 2e-6
        parameter.set_value(value)
        assert slope == pytest.approx(float((gradient * along).sum()), rel=1e-5, abs=1e-5), name


@every_variant
def test_fused_attention_is_the_same_attention(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, inputs = make_encoder(config := small(variant)), batch(small(variant), LENGTHS)
    rows = paddle.to_tensor([0, 5, 17, 31, 47])  # real tokens

    def hidden_and_gradient() -> list[np.ndarray]:
        encoder.clear_gradients()
        hidden = encoder(*inputs, rows)
        hidden.square().sum().backward()
        return [hidden.numpy(), encoder.embeddings.word_embeddings.weight.grad.numpy()]

    plain = hidden_and_gradient()
    called = []
    monkeypatch.setattr("pretrain.attention.fused", lambda x: not called.append(x))
    for ours, theirs in zip(plain, hidden_and_gradient(), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4 * max(1.0, np.abs(ours).max())
    assert len(called) == config.num_layers


def _turn_adjacent(x: Any) -> tuple[Any, None, None]:
    """What paddle documents of its fused rotation, which has no CPU kernel."""
    _, length, _, size = x.shape
    angles = paddle.to_tensor(np.outer(np.arange(length), 10000.0 ** (-np.arange(0, size, 2) / size)), dtype=x.dtype)
    cos, sin = (turn(angles).unsqueeze([0, 2]) for turn in (paddle.cos, paddle.sin))
    even, odd = x[..., 0::2], x[..., 1::2]
    return paddle.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2, -1), None, None


def _turn_halves(x: Any) -> tuple[Any, None, None]:
    """The other convention, which would train another network."""
    size = x.shape[-1] // 2
    mixed = paddle.stack([x[..., :size], x[..., size:]], -1).flatten(-2, -1)
    turned = _turn_adjacent(mixed)[0]
    return paddle.concat([turned[..., 0::2], turned[..., 1::2]], -1), None, None


@pytest.mark.parametrize("operator", ["adjacent", "halves", "as installed"])
def test_fused_rotation_serves_only_if_it_turns_what_we_turn(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small("roformer", rotary_value=True)
    encoder, inputs = make_encoder(config), batch(config, LENGTHS)
    documents = paddle.to_tensor(np.repeat([[0] * 5 + [1] * 11], 4, 0))

    def found() -> list[np.ndarray]:
        encoder.clear_gradients()
        hidden = [encoder(*inputs, paddle.to_tensor([0, 5, 17, 31, 47])), encoder(*inputs, paddle.to_tensor([31, 47]), documents)]
        paddle.add_n([h.square().sum() for h in hidden]).backward()
        return [*arrays(hidden), encoder.embeddings.word_embeddings.weight.grad.numpy()]

    plain, served = found(), []
    monkeypatch.setattr(fused_rotation, "fused", lambda x: True)
    monkeypatch.setattr(fused_rotation, "_found", {})
    monkeypatch.setattr("pretrain.rotary.recording", lambda x: False)
    monkeypatch.setattr(
        "pretrain.rotary.fused_rotation", lambda *given: served.append(1) or fused_rotation.fused_rotation(*given)
    )
    if operator != "as installed":
        turn = {"adjacent": _turn_adjacent, "halves": _turn_halves}[operator]
        monkeypatch.setattr(fused_rotation.incubating, "fused_rotary_position_embedding", turn)
    for ours, theirs in zip(plain, found(), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4 * max(1.0, np.abs(ours).max())
    # q, k and v of every layer, but not of rows that hold several documents
    assert len(served) == (3 * config.num_layers if operator == "adjacent" else 0)


@every_variant
def test_rows_beyond_max_positions_are_refused(variant: str) -> None:
    config = small(variant)
    with pytest.raises(ModelError, match=r"at most 64 tokens, got 65"):
        make_encoder(config)(*batch(config, [65]))
    make_encoder(config)(*batch(config, [64]))


@every_variant
def test_training_with_dropout_is_a_function_of_the_seed(variant: str) -> None:
    encoder = make_encoder(config := small(variant, dropout=0.2, attention_dropout=0.2))
    encoder.train()
    inputs = batch(config, LENGTHS)

    def gradient(seed: int) -> bytes:
        encoder.clear_gradients()
        paddle.seed(seed)
        encoder(*inputs).square().sum().backward()
        return b"".join(p.grad.numpy().tobytes() for p in encoder.parameters())

    assert gradient(1) == gradient(1) != gradient(2)


@every_variant
def test_the_map_of_names_knows_every_weight_once(variant: str) -> None:
    config = small(variant)
    names, shapes = weight_names(config), {n: t.shape for n, t in PretrainingModel(config).state_dict().items()}
    assert sorted(name.ours for name in names) == sorted(shapes)
    for other in ("transformers", "paddlenlp"):
        theirs = [getattr(name, other) for name in names if getattr(name, other) is not None]
        assert len(set(theirs)) == len(theirs)
        assert bool(theirs) == ((variant, other) != ("roformer_v2", "transformers"))
    assert all(len(shapes[name.ours]) == 2 for name in names if name.layout == "transposed")
    assert all(("key_conv" in n.ours and n.ours.endswith("bias")) == (n.layout == "column") for n in names)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_real_trainer_trains_evaluates_and_saves_it(tmp_path: Path, variant: str) -> None:
    network = small(variant, vocab_size=64, hidden_size=16, embedding_size=16, num_heads=4, initializer_range=0.02)
    plan = tiny_plan(tiny_config(write_tiny_data(tmp_path / "tiny"), tmp_path, max_steps=3, save_steps=3), network)
    trainer = new_trainer(plan)
    before = {name: value.numpy().copy() for name, value in trainer.network.named_parameters()}
    result = trainer.run()
    figures = result.figures
    assert 3.0 < figures["lm_loss"] < 5.0 and 0.4 < figures["sop_loss"] < 1.2 and figures["eval"]["pairs"] > 0
    assert result.checkpoint.config() == network
    saved = result.checkpoint.model()
    assert set(saved) == set(before)
    still = [name for name in before if (saved[name] == before[name]).all()]
    assert still == []


@every_variant
def test_classifiers_take_the_first_token_or_the_mean_and_start_from_pretrained_names(variant: str) -> None:
    config = small(variant)
    inputs = batch(config, LENGTHS)
    pretraining = {name for name in PretrainingModel(config).state_dict() if name.startswith(f"{config.prefix}.")}
    mean, cls, tokens = (
        scattered(make) for make in (
            SequenceClassifier(config, 3, pooling="mean"), SequenceClassifier(config, 3), TokenClassifier(config, 5),
        )
    )  # fmt: skip
    own = {"classifier.weight", "classifier.bias"} if config.has_bias else {"classifier.weight"}
    assert set(cls.state_dict()) == pretraining | own
    assert set(mean.state_dict()) == set(tokens.state_dict()) == {n for n in pretraining if ".pooler." not in n} | own
    hidden = mean.encoder(*inputs).numpy()
    means = np.stack([hidden[row, :size].mean(0) for row, size in enumerate(LENGTHS)])
    expected = means @ mean.classifier.weight.numpy() + (mean.classifier.bias.numpy() if config.has_bias else 0)
    assert np.abs(mean(*inputs).numpy() - expected).max() <= 1e-5
    assert tokens(*inputs).shape == [4, 16, 5] and cls(*inputs).shape == [4, 3]


def test_another_pooling_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'cls', 'mean'.*'max'"):
        SequenceClassifier(small("bert"), 2, pooling="max")


def test_the_poolers_activation_may_be_left_out() -> None:
    config = small("bert", pool_act="linear")
    pooler = scattered(PretrainingModel(config)).encoder.pooler
    x = np.random.default_rng(0).normal(size=(3, HIDDEN)).astype("float32")
    expected = x @ pooler.dense.weight.numpy() + pooler.dense.bias.numpy()
    assert np.abs(pooler(paddle.to_tensor(x)).numpy() - expected).max() <= 1e-5


def test_the_discriminator_gives_one_logit_a_token() -> None:
    head = scattered(DiscriminatorHead(small("convbert")))
    x = np.random.default_rng(0).normal(size=(2, 5, HIDDEN))
    w = {name: value.numpy().astype(np.float64) for name, value in head.state_dict().items()}
    inner = x @ w["dense.weight"] + w["dense.bias"]
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    expected = (inner @ w["dense_prediction.weight"] + w["dense_prediction.bias"])[..., 0]
    assert np.abs(head(paddle.to_tensor(x.astype("float32"))).numpy() - expected).max() <= 1e-5
