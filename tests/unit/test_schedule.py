"""The learning rate is a function of the step alone, with the values that the published log shows."""

from __future__ import annotations

import itertools

import pytest

from pretrain.schedule import KINDS, Schedule, default_warmup_steps
from shards.errors import UsageError


def schedule(kind: str = "linear", **changes: float) -> Schedule:
    values = {"max_lr": 1e-4, "min_lr": 1e-5, "warmup_steps": 10, "max_steps": 100} | changes
    return Schedule(kind=kind, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "printed"), [(170100, "6.66465e-05"), (170200, "6.66263e-05"), (170300, "6.66061e-05"), (170600, "6.65455e-05")]
)
def test_linear_gives_the_rates_of_the_published_log(step: int, printed: str) -> None:
    published = Schedule(kind="linear", max_lr=1e-4, min_lr=0.0, warmup_steps=5_000, max_steps=500_000)
    assert f"{published.rate(step):.5e}" == printed


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_rises_from_its_first_share_to_the_highest_rate(kind: str) -> None:
    rates = [schedule(kind).rate(step) for step in range(1, 11)]
    assert rates == pytest.approx([1e-5 * step for step in range(1, 11)])


@pytest.mark.parametrize("kind", ["linear", "cosine", "wsd"])
def test_every_decaying_schedule_ends_at_the_lowest_rate_and_never_rises(kind: str) -> None:
    rates = [schedule(kind).rate(step) for step in range(10, 101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-5)
    assert all(a >= b for a, b in itertools.pairwise(rates))


def test_cosine_is_half_way_in_the_middle() -> None:
    assert schedule("cosine").rate(55) == pytest.approx((1e-4 + 1e-5) / 2)


def test_wsd_is_flat_until_the_last_tenth() -> None:
    wsd = schedule("wsd")
    assert {wsd.rate(step) for step in range(10, 91)} == {1e-4}
    assert wsd.rate(95) == pytest.approx((1e-4 + 1e-5) / 2)


def test_constant_stays() -> None:
    assert {schedule("constant").rate(step) for step in range(10, 101)} == {1e-4}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warmup_steps", [0, 1, 100])
def test_extreme_warm_ups_are_finite_everywhere(kind: str, warmup_steps: int) -> None:
    extreme = schedule(kind, warmup_steps=warmup_steps)
    assert all(1e-6 <= extreme.rate(step) <= 1e-4 + 1e-12 for step in range(1, 120))


def test_one_step_of_training_has_a_rate() -> None:
    assert schedule(max_steps=1, warmup_steps=default_warmup_steps(1)).rate(1) == 1e-4


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"min_lr": 1e-3}, "0.001"), ({"max_lr": 0.0}, "0.0"), ({"max_lr": float("nan")}, "nan"), ({"warmup_steps": 101}, "101")],
)
def test_unusable_values_are_refused_by_value(changes: dict[str, float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        schedule(**changes)


def test_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'cosine'"):
        schedule("cosin")


def test_steps_are_counted_from_one() -> None:
    with pytest.raises(UsageError, match="counted from 1"):
        schedule().rate(0)


def test_default_warm_up_is_one_percent_rounded_up() -> None:
    assert [default_warmup_steps(n) for n in (1, 100, 101, 10_000)] == [1, 1, 2, 100]
