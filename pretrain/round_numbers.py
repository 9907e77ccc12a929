"""Round numbers: people choose 500,000 steps and 1e-4, not 499,873 and 1.0101e-4.

Measured values leave an interval; the number with the fewest significant digits in it is the likeliest choice.
"""

from __future__ import annotations

import math


def significant_digits(number: float) -> int:
    """Return how many digits `number` needs, at most 12; 0 for zero."""
    if number == 0:
        return 0
    mantissa = f"{abs(number):.11e}".split("e")[0]
    return len(mantissa.replace(".", "").rstrip("0"))


def roundest(low: float, high: float) -> float:
    """Return the number in [low, high], 0 < low, with the fewest significant digits; of several, the one nearest the middle."""
    middle = (low + high) / 2
    exponent = math.floor(math.log10(high))
    for digits in range(12):
        power = exponent - digits
        first, last = math.ceil(_scaled(low, power) - 1e-9), math.floor(_scaled(high, power) + 1e-9)
        if first <= last:
            return float(f"{min(max(round(_scaled(middle, power)), first), last)}e{power}")
    return middle


def _scaled(number: float, power: int) -> float:
    return number * 10.0**-power if power <= 0 else number / 10.0**power


def roundest_integer(low: float, high: float) -> int | None:
    """Return the integer in [low, high] with the fewest significant digits, None when there is none."""
    first, last = math.ceil(low), math.floor(high)
    if first > last:
        return None
    return round(roundest(first, last)) if first > 0 else 0


def evenest_integer(low: float, high: float) -> int | None:
    """Return the integer in [low, high] that a power of two divides the most often (batch sizes), None when there is none."""
    first, last = max(1, math.ceil(low)), math.floor(high)
    if first > last:
        return None
    power = 1
    while -(-first // (2 * power)) * 2 * power <= last:
        power *= 2
    return -(-first // power) * power
