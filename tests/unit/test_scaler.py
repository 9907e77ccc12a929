"""The loss scaler follows paddle's documented rules, step for step, and paddle's own kernel where it runs."""

from __future__ import annotations

import numpy as np
import pytest

from pretrain.scaler import Scaler, fresh_scaler
from tests.helpers.tiny_training import start_paddle


def after(state: Scaler, steps: str) -> Scaler:
    """Return the state after good (g) and bad (b) steps."""
    for step in steps:
        state = state.after(is_finite=step == "g")
    return state


def dynamic(scale: float = 32768.0, good_steps: int = 0, bad_steps: int = 0) -> Scaler:
    return Scaler(scale=scale, good_steps=good_steps, bad_steps=bad_steps, is_dynamic=True)


# before (scale, good, bad), steps, after (scale, good, bad): worked out by hand from the rules of update_loss_scaling
TABLE = [
    ((32768.0, 0, 0), "g", (32768.0, 1, 0)),
    ((32768.0, 0, 0), "b", (32768.0, 0, 1)),
    ((32768.0, 356, 0), "b", (32768.0, 0, 1)),
    ((32768.0, 0, 1), "g", (32768.0, 1, 0)),
    ((32768.0, 0, 1), "b", (26214.400390625, 0, 0)),  # 0.8 as float32 is a little above 0.8
    ((32768.0, 0, 0), "bgb", (32768.0, 0, 1)),
    ((32768.0, 0, 0), "bbbb", (20971.521484375, 0, 0)),
    ((32768.0, 998, 0), "g", (32768.0, 999, 0)),
    ((32768.0, 999, 0), "g", (65536.0, 0, 0)),
    ((32768.0, 999, 0), "bg", (32768.0, 1, 0)),
    ((1.0, 0, 1), "b", (1.0, 0, 0)),
    ((1.1, 0, 1), "b", (1.0, 0, 0)),
    ((2.0**127, 999, 0), "g", (2.0**127, 0, 0)),  # twice that is no float32
]


@pytest.mark.parametrize(("before", "steps", "expected"), TABLE)
def test_the_table(before: tuple[float, int, int], steps: str, expected: tuple[float, int, int]) -> None:
    state = after(dynamic(*before), steps)
    assert (state.scale, state.good_steps, state.bad_steps) == expected
    assert state.skipped_steps == steps.count("b")


def test_the_scale_of_the_published_log_is_reached() -> None:
    """137438.96875 = 32768 · 2⁴ · 0.8⁶, in whatever order growths and back-offs came."""
    state = fresh_scaler(is_dynamic=True)
    for _ in range(4):
        state = after(state, "g" * 1000)
    assert after(state, "bb" * 6).scale == 137438.96875


def test_the_kernel_of_paddle_agrees() -> None:
    start_paddle()
    import paddle

    generator, state = np.random.default_rng(3), dynamic(good_steps=990)
    scale = paddle.to_tensor([state.scale])
    good, bad = (paddle.to_tensor([n], dtype="int32") for n in (state.good_steps, 0))
    for _ in range(300):
        # Long runs of good steps are what growth takes, and pairs of bad ones what backing off takes.
        is_finite = bool(generator.random() < (0.97 if state.good_steps > 900 else 0.7))
        if is_finite and generator.random() < 0.1:
            state = Scaler(scale=state.scale, good_steps=997, is_dynamic=True)
            good, bad = (paddle.to_tensor([n], dtype="int32") for n in (997, 0))
        gradients, found = [paddle.ones([2])], paddle.to_tensor([not is_finite])
        paddle._C_ops.update_loss_scaling_(gradients, found, scale, good, bad, 1000, 2, 2.0, 0.8, False)
        state = state.after(is_finite=is_finite)
        assert (state.scale, state.good_steps, state.bad_steps) == (scale.item(), good.item(), bad.item())


def test_without_a_dynamic_scale_every_update_is_counted() -> None:
    state = after(fresh_scaler(is_dynamic=False), "g" * 1500)
    assert (state.scale, state.good_steps, state.is_exhausted) == (1.0, 1500, True)


def test_a_dynamic_scale_is_exhausted_at_one() -> None:
    assert not dynamic(1.5).is_exhausted and dynamic(1.0).is_exhausted
