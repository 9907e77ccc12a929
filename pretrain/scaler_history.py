"""What a log's loss scale and counters prove about skipped updates.

The rules are those of paddle's `update_loss_scaling`: a good step adds 1 to the good counter and clears the bad one, and the
`growth_steps`-th in a row doubles the scale and clears the counter; a bad step (a gradient that is not finite; its update is
skipped) clears the good counter and adds 1 to the bad one, and the second in a row multiplies the scale by 0.8. Log lines are
samples of this machine, so most numbers here are lower bounds, and are called so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pretrain.log_reader import LoggedStep
from pretrain.scaler import BACK_OFF, BAD_STEPS_TO_BACK_OFF

_TOLERANCE = 2e-6  # of products in float32
_MAX_POWER = 60


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Skipped updates between two lines: at least `at_least`, the last of them (None: not known) at step `last`."""

    after_step: int
    before_step: int
    at_least: int
    last: int | None
    growths: int
    back_offs: int


def as_product(scale: float, preset: float) -> tuple[int, int] | None:
    """Return (a, b) with scale = preset · 2^a · 0.8^b, b ≥ 0, to float32's precision; None when there are none.

    0.8 = 4/5, so b is the power of 5 and the pair is the only one.
    """
    if scale <= 0 or preset <= 0:
        return None
    for back_offs in range(_MAX_POWER + 1):
        rest, growths = scale / preset / BACK_OFF**back_offs, 0
        while rest > 1.5:
            rest, growths = rest / 2, growths + 1
        while rest < 0.75:
            rest, growths = rest * 2, growths - 1
        if abs(rest - 1) <= _TOLERANCE:
            return growths, back_offs
    return None


def float32_product(preset: float, growths: int, back_offs: int) -> float:
    """Return preset · 2^a · 0.8^b as float32 arithmetic makes it; doubling is exact, so the order does not matter."""
    import numpy as np

    value, factor = np.float32(preset), np.float32(BACK_OFF)
    for _ in range(back_offs):
        value = value * factor
    return float(value) * 2.0**growths


def skips(steps: Sequence[LoggedStep], growth_steps: int) -> list[Skip]:
    """Return the skips between consecutive lines of one stretch of training; lines that go back in steps are not compared."""
    found = [_between(a, b, growth_steps) for a, b in pairwise(steps) if b.step > a.step]
    return [skip for skip in found if skip is not None]


def _between(a: LoggedStep, b: LoggedStep, growth_steps: int) -> Skip | None:
    if None in (a.loss_scaling, b.loss_scaling, a.num_good_steps, b.num_good_steps, a.num_bad_steps, b.num_bad_steps):
        return None
    assert a.loss_scaling is not None and b.loss_scaling is not None
    assert a.num_good_steps is not None and a.num_bad_steps is not None
    assert b.num_good_steps is not None and b.num_bad_steps is not None
    product = as_product(b.loss_scaling, a.loss_scaling)
    growths, back_offs = product or (0, 0)
    taken = b.step - a.step
    bad_now = b.num_bad_steps
    unbroken = a.num_good_steps + taken - (growth_steps * growths if b.loss_scaling != 1.0 else 0)
    if back_offs == 0 and bad_now == 0 and b.num_good_steps == unbroken:
        return None
    # A bad step that line a counts already may be the first half of the first back-off.
    before = a.num_bad_steps if back_offs > 0 else 0
    at_least = max(1, BAD_STEPS_TO_BACK_OFF * back_offs + bad_now - before)
    # With good steps since, the counter tells when it was last cleared; by a growth it may have been if there was one.
    last = b.step if b.num_good_steps == 0 and bad_now else b.step - b.num_good_steps
    return Skip(
        after_step=a.step, before_step=b.step, at_least=at_least, last=last if growths <= 0 and last > a.step else None,
        growths=growths, back_offs=back_offs,
    )  # fmt: skip


def describe_scale(scale: float, preset: float) -> dict[str, Any]:
    """Return how a scale came about, as {"formula", "growths", "back_offs", "float32", "exact"}; empty when it cannot have."""
    product = as_product(scale, preset)
    if product is None:
        return {}
    growths, back_offs = product
    value = float32_product(preset, growths, back_offs)
    formula = f"{preset:g}" + f"·2{superscript(growths)}" * (growths != 0) + f"·0.8{superscript(back_offs)}" * (back_offs != 0)
    return {"formula": formula, "growths": growths, "back_offs": back_offs, "float32": value, "exact": value == scale}


def superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
