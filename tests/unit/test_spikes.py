"""What counts as a loss spike, and how a budget of time becomes a last step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pretrain.budget import plan_last_step
from pretrain.spikes import LEAST, WINDOW, find_spike, with_loss

NOISE = tuple(np.random.default_rng(0).normal(3.0, 0.1, WINDOW).tolist())


def test_noise_is_no_spike_and_a_jump_is_one() -> None:
    draws = np.random.default_rng(1).normal(3.0, 0.1, 2000)
    assert not any(find_spike(NOISE, float(loss), 8.0) for loss in draws)
    spike = find_spike(NOISE, 4.5, 8.0)
    assert spike is not None and spike.median == pytest.approx(3.0, abs=0.05) and spike.sd == pytest.approx(0.1, rel=0.3)
    assert find_spike(NOISE, 1.0, 8.0) is None, "a fall is no spike"


def test_the_limit_is_median_plus_threshold_deviations() -> None:
    recent = tuple(float(i % 5) + 10 for i in range(40))  # median 12, MAD 1
    assert find_spike(recent, 12 + 4 * 1.4826, 4.0) is None
    spike = find_spike(recent, 12 + 4 * 1.4826 + 1e-6, 4.0)
    assert spike is not None and spike.limit == pytest.approx(12 + 4 * 1.4826)


def test_a_constant_loss_has_room_of_one_percent_a_deviation() -> None:
    assert find_spike((2.0,) * LEAST, 2.15, 8.0) is None
    assert find_spike((2.0,) * LEAST, 2.17, 8.0) is not None


def test_little_is_known_at_the_beginning_and_zero_turns_it_off() -> None:
    assert find_spike((2.0,) * (LEAST - 1), 1e9, 8.0) is None
    assert find_spike(NOISE, 1e9, 0) is None


def test_spikes_do_not_hide_each_other_but_a_level_that_stays_becomes_one() -> None:
    recent, spikes = NOISE, []
    for _ in range(WINDOW):
        spikes.append(find_spike(recent, 6.0, 8.0) is not None)
        recent = with_loss(recent, 6.0)
    assert all(spikes[:40]) and not any(spikes[-40:]) and len(recent) == WINDOW


def test_a_falling_loss_is_no_spike() -> None:
    recent: tuple[float, ...] = ()
    for step in range(400):
        loss = 2.0 + 8.0 * math.exp(-step / 50)
        assert find_spike(recent, loss, 8.0) is None
        recent = with_loss(recent, loss)


@pytest.mark.parametrize(
    ("left_s", "step_s", "last_step"), [(1000.0, 1.0, 1050), (1.0, 10.0, 101), (-5.0, 1.0, 101), (3600.0, 0.25, 13780)]
)
def test_the_time_that_is_left_becomes_steps(left_s: float, step_s: float, last_step: int) -> None:
    assert plan_last_step(100, left_s=left_s, step_s=step_s) == last_step
