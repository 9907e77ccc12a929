"""Emulated half precision rounds what half precision rounds, overflows where it overflows, and touches nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pretrain.errors import DeviceError
from pretrain.options import TrainConfig
from pretrain.precision import Precision
from tests.helpers.tiny_training import start_paddle, tiny_network


@pytest.fixture(autouse=True)
def _paddle() -> None:
    start_paddle()


def product(dtype: str | None, x: list[list[float]], y: list[list[float]], gradient: float = 1.0) -> tuple[Any, Any]:
    import paddle

    from pretrain.emulate import matmul, rounding

    left, right = (paddle.to_tensor(value, stop_gradient=False) for value in (x, y))
    if dtype is None:
        result = matmul(left, right)
    else:
        with rounding(dtype, between_layers=False):
            result = matmul(left, right)
    (result * gradient).sum().backward()
    return result.numpy(), left.grad.numpy()


def test_operands_and_results_are_rounded() -> None:
    third = 1 / 3
    half = float(np.float16(third))
    assert product("float16", [[third]], [[3.0]])[0].item() == float(np.float16(half * 3))
    assert product("bfloat16", [[third]], [[3.0]])[0].item() == 1.0  # of 0.333984375 · 3
    assert product(None, [[third]], [[3.0]])[0].item() == 1.0


def test_float16_overflows_and_bfloat16_does_not() -> None:
    assert np.isinf(product("float16", [[300.0]], [[300.0]])[0]).all()
    assert product("bfloat16", [[300.0]], [[300.0]])[0].item() == pytest.approx(90000, rel=2**-8)


def test_gradients_are_rounded_underflow_and_overflow() -> None:
    assert product("float16", [[1.0]], [[1.0]], gradient=1e-8)[1].item() == 0.0
    assert np.isinf(product("float16", [[1.0]], [[1.0]], gradient=70000.0)[1]).all()
    assert product("float16", [[1.0]], [[1 / 3]], gradient=0.1)[1].item() == float(
        np.float16(np.float32(np.float16(0.1)) * np.float32(np.float16(1 / 3)))
    )


def outputs(level: str, dtype: str, *, backward: bool = False, prepare: Callable[[Any], Any] | None = None) -> Any:
    import paddle

    from pretrain.heads import PretrainingModel

    paddle.seed(5)
    network = PretrainingModel(tiny_network(dropout=0.0))
    precision = Precision(TrainConfig(amp=level, amp_dtype=dtype, amp_emulate=level != "off"), on_gpu=False)
    precision.prepare(network)
    if prepare is not None:
        prepare(network)
    ids = paddle.to_tensor(np.arange(5, 21).reshape(2, 8), dtype="int64")
    with precision.forward():
        logits, _ = network(ids, paddle.zeros_like(ids), paddle.full([2], 8, "int64"), paddle.to_tensor([1, 9]))
    if backward:
        logits.sum().backward()
        return {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}
    return logits.numpy()


@pytest.mark.parametrize("backward", [False, True])
def test_every_product_of_the_network_is_rounded(monkeypatch: pytest.MonkeyPatch, backward: bool) -> None:
    """Also when gradients are wanted, which is when the own kernels for CPU would compute in float32."""
    from pretrain import emulate

    rounded, seen = emulate.rounded, []
    monkeypatch.setattr(emulate, "rounded", lambda x: seen.append(x) or rounded(x))
    outputs("O1", "float16", backward=backward)
    # Two layers of six linear layers and two products of attention; pooler, two heads, vocabulary. Two operands, one result.
    assert len(seen) == 3 * (2 * 8 + 4)


def test_a_recomputed_block_is_rounded_both_times() -> None:
    from pretrain.recompute import recompute_blocks

    plain = outputs("O1", "float16", backward=True)
    again = outputs("O1", "float16", backward=True, prepare=recompute_blocks)
    assert plain.keys() == again.keys()
    assert all((plain[name] == again[name]).all() for name in plain)


def test_levels_differ_a_little_from_float32_and_from_each_other() -> None:
    exact, o1, o2 = outputs("off", "float16"), outputs("O1", "float16"), outputs("O2", "float16")
    assert 0 < np.abs(o1 - exact).max() < 1e-3
    assert 0 < np.abs(o2 - exact).max() < 1e-2 and (o1 != o2).any()
    assert np.abs(outputs("O1", "bfloat16") - exact).max() > np.abs(o1 - exact).max()


def test_mixed_precision_on_a_cpu_is_refused_with_the_reason() -> None:
    with pytest.raises(DeviceError, match=r"--amp O1 needs a GPU: paddle has no bfloat16 kernels on CPU.*--amp-emulate"):
        Precision(TrainConfig(amp="O1"), on_gpu=False)
    with pytest.raises(DeviceError, match="--amp-emulate is for CPUs"):
        Precision(TrainConfig(amp="O1", amp_emulate=True), on_gpu=True)
