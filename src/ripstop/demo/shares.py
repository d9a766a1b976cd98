"""How far a count of random draws may be from what is expected of it."""

from __future__ import annotations

import math

DEVIATIONS = 4.0
"""A sound split is out of these bounds once in 16,000 runs (two-sided normal tail)."""


def bounds(total: int, share: float) -> tuple[int, int]:
    """(least, most) of `total` draws, each with the chance `share`, within DEVIATIONS of the binomial distribution."""
    mean = total * share
    reach = DEVIATIONS * math.sqrt(total * share * (1 - share))
    return max(0, math.floor(mean - reach)), min(total, math.ceil(mean + reach))


def is_within(count: int, total: int, share: float) -> bool:
    """Whether `count` of `total` is a likely outcome; of nothing, nothing is."""
    least, most = bounds(total, share)
    return total > 0 and least <= count <= most
