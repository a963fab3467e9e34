"""How far a share that was counted may lie from the true one.

Every trial counts as independent: labels of one frame are only roughly so, and then the interval
is a little too narrow. What is decided on is not this interval but the paired test beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a share probably lies, both ends in 0..1."""

    low: float
    high: float


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval | None:
    """Two-sided score interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927) 209-212. Unlike estimate +/- error it stays in
    0..1 and has a width when every trial succeeded.

    Args:
        successes: How many trials succeeded.
        trials: How many there were.
        confidence: Share of such intervals that hold the true share.

    Returns:
        The interval; None without trials.

    Raises:
        ValueError: Not 0 <= successes <= trials, or a confidence outside 0..1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 to {trials} successes, found {successes}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence:g}")
    if trials == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    spread = share * (1 - share) / trials + z * z / (4 * trials * trials)
    reach = z * math.sqrt(spread) / shrink
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == trials else min(1.0, centre + reach)
    return Interval(low, high)
