"""Which learning-rate schedule ran, from the rates that a log printed.

Every schedule here is ``peak · f(step; horizon, warm-up, floor/peak)``. For given horizon, warm-up and floor, each printed rate
bounds the peak from both sides, and the schedule *fits* when the bounds of all lines leave something: it then reproduces every
printed digit. A few digits over a part of a run are reproduced by many schedules; of those, the one that the fewest significant
digits describe is named, because people choose round numbers, and the others are listed.

Horizons are searched on a grid that is refined around its best point, for usual warm-ups and floors and for those that the log
shows.

Legend: n lines, K horizons.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain.round_numbers import roundest, roundest_integer, significant_digits

F64 = npt.NDArray[np.float64]
KINDS = ("linear", "cosine", "wsd", "constant")
_SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.06, 0.1, 0.2)
_FLOORS = (0.0, 0.01, 1 / 60, 0.02, 1 / 30, 0.04, 0.05, 0.1, 0.2)
_DECAY_SHARES = (0.05, 0.1, 0.2, 0.25)
_LINES_FOR_THE_SEARCH = 48
_GRID, _ZOOMS = 240, 4
_LONGEST = 100  # horizons are looked for up to so many times the last step


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Printed rates: step, rate, and how far off each may be, float64[n] each; ascending steps, each there once."""

    step: F64
    rate: F64
    error: F64

    def thinned(self, count: int) -> Rates:
        at = np.unique(np.linspace(0, len(self.step) - 1, min(count, len(self.step))).round().astype(np.int64))
        return Rates(step=self.step[at], rate=self.rate[at], error=self.error[at])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A schedule held against the printed rates.

    horizon_range: the horizons with which it reproduces every digit (with its warm-up and floor ratio), None when none does;
    worst_error: largest deviation in units of what rounding explains, at most 1 when it fits; shift: −1 when a line at step s
    shows the rate of step s − 1; digits: significant digits that describe it.
    """

    kind: str
    peak: float
    floor: float
    warmup_steps: int
    horizon: int | None
    horizon_range: tuple[float, float] | None
    decay_share: float | None
    shift: int
    worst_error: float
    reproduced_share: float
    digits: int

    @property
    def fits(self) -> bool:
        return self.worst_error <= 1.0

    @property
    def warmup_share(self) -> float | None:
        return None if self.horizon is None else self.warmup_steps / self.horizon

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fits": self.fits, "warmup_share": self.warmup_share}


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A family with one parameter left open, the horizon. warmup is a share of it when `warmup_is_share`, else steps."""

    kind: str
    warmup: float
    warmup_is_share: bool
    floor: float
    decay_share: float
    shift: int

    def curve(self, step: F64, horizon: F64) -> F64:
        """Return f, [K, n], for steps [n] and horizons [K, 1]."""
        step = np.maximum(step + self.shift, 0.0)
        warmup = self.warmup * horizon if self.warmup_is_share else np.full_like(horizon, self.warmup)
        return _curve(self.kind, step, horizon, warmup, self.floor, self.decay_share * horizon)

    def whole_warmups(self, horizon: int) -> set[int]:
        exact = self.warmup * horizon if self.warmup_is_share else self.warmup
        return {w for w in (math.floor(exact + 1e-6), math.ceil(exact - 1e-6)) if w <= horizon}


def _curve(kind: str, step: F64, horizon: F64, warmup: F64, floor: float, decay_steps: F64) -> F64:
    if kind == "constant":
        after = np.ones(np.broadcast_shapes(step.shape, horizon.shape))
    elif kind == "wsd":
        after = floor + (1 - floor) * np.clip((horizon - step) / np.maximum(decay_steps, 1.0), 0.0, 1.0)
    else:
        left = np.clip((horizon - step) / np.maximum(horizon - warmup, 1e-9), 0.0, 1.0)
        after = floor + (1 - floor) * (left if kind == "linear" else (1 + np.cos(np.pi * (1 - left))) / 2)
    return np.where(step < warmup, step / np.maximum(warmup, 1e-9), after)


def fit_schedules(rates: Rates) -> list[Fit]:
    """Return what was tried, the likeliest first; at most a few of each family. `rates` must not be empty."""
    few = rates.thinned(_LINES_FOR_THE_SEARCH)
    fits: list[Fit] = []
    if not rates.rate.max() > 0:
        zero = _Shape(kind="constant", warmup=0.0, warmup_is_share=False, floor=0.0, decay_share=0.0, shift=0)
        return [_judge(zero, rates, None, 0, None)]
    shifts: tuple[int, ...] = (0, -1)
    for kind in KINDS:
        for shift in shifts:
            found = [fit for shape in _shapes(kind, shift, rates) for fit in _fit(shape, rates, few)]
            fits += found
            if any(fit.fits for fit in found):
                break
    fits.sort(key=_rank)
    best: list[Fit] = []
    for kind in KINDS:
        distinct = {
            (fit.peak, fit.floor, fit.warmup_steps, fit.horizon, fit.shift): fit for fit in reversed(fits) if fit.kind == kind
        }
        best += sorted(distinct.values(), key=_rank)[:3]
    return sorted(best, key=_rank)


def _rank(fit: Fit) -> tuple[bool, float, int, float]:
    return not fit.fits, fit.digits if fit.fits else fit.worst_error, KINDS.index(fit.kind), fit.worst_error


def _shapes(kind: str, shift: int, rates: Rates) -> Iterator[_Shape]:
    floors: Iterable[float] = (0.0,) if kind == "constant" else _FLOORS
    decays: Iterable[float] = _DECAY_SHARES if kind == "wsd" else (0.0,)
    warmups = list(_warmups(rates, shift, with_shares=kind != "constant"))
    for (warmup, is_share), floor, decay in itertools.product(warmups, floors, decays):
        yield _Shape(kind=kind, warmup=warmup, warmup_is_share=is_share, floor=floor, decay_share=decay, shift=shift)
    if kind in ("linear", "cosine"):
        for warmup, is_share in warmups:
            seen = _floor_at(kind, rates, warmup * rates.step[-1] if is_share else warmup, shift)
            if seen is not None:
                yield _Shape(kind=kind, warmup=warmup, warmup_is_share=is_share, floor=seen, decay_share=0.0, shift=shift)


def _warmups(rates: Rates, shift: int, *, with_shares: bool) -> Iterator[tuple[float, bool]]:
    """Yield (warm-up, is a share of the horizon): what the log shows of it, or else all usual ones that end before it."""
    step, slope = rates.step + shift, rates.rate / np.maximum(rates.step + shift, 1.0)
    loose = rates.error / np.maximum(step, 1.0)
    rising = 0  # lines on the straight line through 0
    while rising < len(step) and abs(slope[rising] - slope[0]) <= 2 * (loose[rising] + loose[0]) and step[rising] > 0:
        rising += 1
    if rising > 1:
        low = step[rising - 1]
        high = step[rising] if rising < len(step) else low
        yield from ((w, False) for w in _round_steps(low, high, 12))
        at_peak = rates.rate.max() / slope[rising - 1]
        yield from ((float(w), False) for w in range(round(at_peak) - 1, round(at_peak) + 2) if low <= w <= high)
        if rising < len(step) - 2:  # where the warm-up meets the straight line of a linear decay
            down, up = np.polyfit(step[rising:], rates.rate[rising:], 1), slope[rising - 1]
            crossing = down[1] / (up - down[0]) if up > down[0] else low
            yield from ((float(w), False) for w in (math.floor(crossing), math.ceil(crossing)) if low <= w <= high)
        if with_shares:
            yield from ((share, True) for share in _SHARES[1:])
        return
    yield 0.0, False
    if with_shares:
        yield from ((share, True) for share in _SHARES[1:])
    yield from ((float(w), False) for w in (100, 500, 1000, 2000, 5000, 10000) if w <= step[0])


def _round_steps(low: float, high: float, count: int) -> list[float]:
    inside = np.unique(np.linspace(low, high, min(int(high - low) + 1, 2000)).round())
    return sorted(inside.tolist(), key=significant_digits)[:count]


def _floor_at(kind: str, rates: Rates, warmup: float, shift: int) -> float | None:
    """Return the floor ratio if the log's last step is the horizon: the rates are then linear in (peak − floor, floor)."""
    step, end = rates.step + shift, rates.step[-1:]
    if warmup >= end[0]:
        return None
    zero = _curve(kind, step, end, np.array([warmup]), 0.0, end)
    one = _curve(kind, step, end, np.array([warmup]), 1.0, end)
    found, _, rank, _ = np.linalg.lstsq(np.stack([zero, one - zero], axis=1), rates.rate, rcond=None)
    if rank < 2 or not found[0] > 0 or not 1e-4 * found[0] < found[1] < found[0]:
        return None
    peak, floor = float(f"{found[0]:.5e}"), float(f"{found[1]:.5e}")
    return floor / peak


def _fit(shape: _Shape, rates: Rates, few: Rates) -> Iterator[Fit]:
    if shape.kind == "constant":
        yield _judge(shape, rates, None, round(shape.warmup), None)
        return
    horizon = _search(shape, few)
    span = _feasible(shape, few, horizon)
    candidates = {round(horizon), math.floor(horizon), math.ceil(horizon)}
    if span is not None and (rounded := roundest_integer(*span)) is not None:
        candidates.add(rounded)
    if abs(rates.step[-1] - horizon) <= max(1.0, 1e-3 * horizon):
        candidates.add(round(rates.step[-1]))
    tried = [_judge(shape, rates, h, w, span) for h in sorted(candidates) if h > 0 for w in sorted(shape.whole_warmups(h))]
    yield from sorted(tried, key=_rank)[:1]


def _search(shape: _Shape, few: Rates) -> float:
    """Return the horizon with the least worst error."""
    low = math.log(max(few.step[0] + 1.0, shape.warmup + 1.0 if not shape.warmup_is_share else 2.0))
    high = math.log(few.step[-1] * _LONGEST + 2.0)
    best = float(few.step[-1])
    for zoom in range(_ZOOMS):
        horizons = np.exp(np.linspace(low, high, _GRID))
        if zoom == 0:
            horizons = np.append(horizons, few.step[-1])
        errors = _worst(shape.curve(few.step, horizons[:, None]), few)
        best = float(horizons[int(np.argmin(errors))])
        width = 2 * (high - low) / _GRID
        low, high = math.log(best) - width, math.log(best) + width
    return best


def _worst(curves: F64, rates: Rates) -> F64:
    """Return the largest error of each curve [K, n] at its best peak by least squares, in units of the lines' errors: [K]."""
    weight = 1.0 / rates.error
    peak = (curves * rates.rate * weight**2).sum(axis=1) / np.maximum((curves**2 * weight**2).sum(axis=1), 1e-300)
    worst: F64 = np.abs((peak[:, None] * curves - rates.rate) * weight).max(axis=1)
    return worst


def _peaks(curve: F64, rates: Rates) -> tuple[float, float]:
    """Return the lowest and the highest peak that reproduce every rate; the lowest is above the highest when none does."""
    zero = curve <= 0
    if bool((rates.rate[zero] > rates.error[zero]).any()) or zero.all():
        return math.inf, 0.0
    low = ((rates.rate - rates.error)[~zero] / curve[~zero]).max()
    return float(low), float(((rates.rate + rates.error)[~zero] / curve[~zero]).min())


def _feasible(shape: _Shape, few: Rates, horizon: float) -> tuple[float, float] | None:
    """Return the range of horizons around `horizon` with which every digit is reproduced."""

    def fits(value: float) -> bool:
        low, high = _peaks(shape.curve(few.step, np.array([[value]]))[0], few)
        return low <= high

    if not fits(horizon):
        return None
    ends = []
    for sign in (-1.0, 1.0):
        inside, width = horizon, 1e-7 * horizon
        while fits(horizon + sign * width) and width < 0.9 * horizon * (_LONGEST if sign > 0 else 1):
            inside, width = horizon + sign * width, 2 * width
        outside = horizon + sign * width
        for _ in range(30):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if fits(middle) else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


def _judge(shape: _Shape, rates: Rates, horizon: int | None, warmup: int, span: tuple[float, float] | None) -> Fit:
    """Return the fit of whole numbers of steps against all lines."""
    end = np.array([float(horizon or 1)])
    decay_steps = np.array([max(1.0, round(shape.decay_share * float(end[0])))])
    step = np.maximum(rates.step + shape.shift, 0.0)
    curve = _curve(shape.kind, step, end, np.array([float(warmup)]), shape.floor, decay_steps)
    low, high = _peaks(curve, rates)
    weight = 1.0 / rates.error
    least_squares = float((curve * rates.rate * weight**2).sum() / max(float((curve**2 * weight**2).sum()), 1e-300))
    peak = roundest(low, high) if 0 < low <= high else least_squares
    errors = np.abs(peak * curve - rates.rate) * weight
    worst = float(errors.max())
    if low <= high:
        worst = min(worst, 1.0)  # float64's own rounding at the very edge
    is_last = horizon is not None and horizon == int(rates.step[-1])
    digits = significant_digits(peak) + (0 if shape.kind == "constant" else 1 if is_last else significant_digits(horizon or 0))
    if span is None and worst <= 1.0 and horizon is not None:
        span = float(horizon), float(horizon)
    share = shape.warmup if shape.warmup_is_share else warmup / horizon if horizon else warmup
    digits += min(significant_digits(round(share, 9)), significant_digits(warmup))
    floor = shape.floor * peak
    digits += min(significant_digits(round(shape.floor, 9)), significant_digits(float(f"{floor:.5e}")))
    digits += (shape.shift != 0) + (significant_digits(shape.decay_share) if shape.kind == "wsd" else 0)
    return Fit(
        kind=shape.kind, peak=peak, floor=float(f"{floor:.6g}"), warmup_steps=warmup, horizon=horizon,
        horizon_range=span if shape.kind != "constant" else None, decay_share=shape.decay_share if shape.kind == "wsd" else None,
        shift=shape.shift, worst_error=worst, reproduced_share=float((errors <= 1.0).mean()), digits=digits,
    )  # fmt: skip


def rates_of(steps: Sequence[int], rates: Sequence[float], errors: Sequence[float]) -> Rates:
    """Return the rates sorted by step; of a step that is there twice, the last. None counts as exact beyond 1e-9."""
    least = 1e-9 * max(rates) or 1e-12
    last = {step: i for i, step in enumerate(steps)}
    order = [last[step] for step in sorted(last)]
    return Rates(
        step=np.array([steps[i] for i in order], np.float64),
        rate=np.array([rates[i] for i in order], np.float64),
        error=np.array([max(errors[i], least) for i in order], np.float64),
    )
