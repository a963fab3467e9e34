"""Two detectors on the same labelled frames: is one worse, and what drop would have been seen.

A frame is one vote of any size: boxes of one frame are lost together, so what is exchanged under
"no difference" is a whole frame. Invariant: `no_loss_p` is exact for every number of frames; the
smallest detectable drop is a plan with stated assumptions, never evidence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

POWER: Final = 0.8
_HALVINGS: Final = 40
_SETS_MAX: Final = 2.0**20


def no_loss_p(losses: NDArray[np.int64]) -> float:
    """One-sided p-value of "the second detector loses no more boxes than the first".

    The randomisation test of paired differences: E. J. G. Pitman, "Significance tests which may be
    applied to samples from any populations", Supplement to the Journal of the Royal Statistical
    Society 4 (1937) 119-130. Without a difference each frame's count is as likely to have the other
    sign; the distribution of the sum over all signs is worked out whole. With one box a frame it
    is the exact form of Q. McNemar's test, Psychometrika 12 (1947) 153-157.

    Args:
        losses: (frames,) boxes that the first found and the second missed, less those the other
            way round.

    Returns:
        The chance, in 0..1, of a sum as large as this one or larger.
    """
    sizes = np.abs(losses[losses != 0])
    reach = int(sizes.sum())
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in sizes.tolist():
        chances = 0.5 * (np.roll(chances, size) + np.roll(chances, -size))
    return min(1.0, float(chances[reach + int(losses.sum()) :].sum()))


@dataclass(frozen=True, slots=True)
class Design:
    """A labelled set as a plan sees it.

    Attributes:
        boxes_by_frame: How many frames have so many labelled boxes; frames without any are left
            out.
        clumping: How much more a frame's boxes vary together than apart, 1 or more.
        exchange_fraction: Share of the boxes on which the detectors differ without either being
            better: as many lost as gained.
    """

    boxes_by_frame: Mapping[int, float]
    clumping: float = 1.0
    exchange_fraction: float = 0.0

    @property
    def boxes(self) -> float:
        """Labelled boxes of all frames."""
        return sum(size * count for size, count in self.boxes_by_frame.items())

    def times(self, factor: float) -> Design:
        """The same kind of set with so many times the frames."""
        frames = {size: count * factor for size, count in self.boxes_by_frame.items()}
        return Design(frames, self.clumping, self.exchange_fraction)


def design_of(boxes: Sequence[int], lost: NDArray[np.int64], gained: NDArray[np.int64]) -> Design:
    """Read off a comparison how its set behaves.

    Args:
        boxes: Labelled boxes of each frame.
        lost: (frames,) of them found by the first detector alone.
        gained: (frames,) of them found by the second alone.
    """
    total, differing = sum(boxes), int((lost + gained).sum())
    together = int(np.square(lost - gained).sum())
    exchanged = 2 * min(int(lost.sum()), int(gained.sum()))
    return Design(
        boxes_by_frame={size: float(n) for size, n in Counter(boxes).items() if size},
        clumping=max(1.0, together / differing) if differing else 1.0,
        exchange_fraction=exchanged / total if total else 0.0,
    )


def smallest_detectable_drop(design: Design, *, alpha: float, power: float = POWER) -> float:
    """The smallest drop of recall that the test would find with the chance `power`.

    The larger of two bounds. Few frames: the test needs ceil(log2(1 / alpha)) frames with a loss,
    and frames lose boxes independently. Many: the normal approximation for paired shares of
    R. J. Connor, "Sample size for testing differences in proportions for the paired-sample
    design", Biometrics 43 (1987) 207-211.

    Args:
        design: The labelled set.
        alpha: Level of the one-sided test.
        power: Chance of finding the drop.

    Returns:
        A drop of recall in 0..1; 1.0 if even a total loss would not be found.
    """
    low, high = 0.0, 1.0
    if not _found(design, high, alpha=alpha, power=power):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _found(design, middle, alpha=alpha, power=power):
            high = middle
        else:
            low = middle
    return high


def boxes_needed(design: Design, *, drop: float, alpha: float, power: float = POWER) -> int | None:
    """How many labelled boxes of the same kind would show a drop of `drop`.

    Returns:
        Boxes, rounded up; None if more than a million sets like this one would be needed.
    """
    like = design if design.boxes else Design({1: 1.0}, design.clumping, design.exchange_fraction)
    high = 2.0**-20
    while not _found(like.times(high), drop, alpha=alpha, power=power):
        high *= 2
        if high > _SETS_MAX:
            return None
    low = high / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _found(like.times(middle), drop, alpha=alpha, power=power):
            high = middle
        else:
            low = middle
    return math.ceil(like.boxes * high)


def _found(design: Design, drop: float, *, alpha: float, power: float) -> bool:
    """Whether a drop of recall is found with the chance `power`, by both bounds."""
    fewest = math.ceil(-math.log2(alpha))
    frames = _chance_of_frames(design, drop, fewest=fewest)
    return frames >= power and _drop_is_wide(design, drop, alpha=alpha, power=power)


def _drop_is_wide(design: Design, drop: float, *, alpha: float, power: float) -> bool:
    """Connor's formula, solved for whether the boxes suffice."""
    differing = min(1.0, drop + design.exchange_fraction)
    boxes = design.boxes / design.clumping
    normal = NormalDist()
    spread = normal.inv_cdf(1 - alpha) * math.sqrt(differing)
    spread += normal.inv_cdf(power) * math.sqrt(max(0.0, differing - drop * drop))
    return boxes * drop * drop >= spread * spread


def _chance_of_frames(design: Design, drop: float, *, fewest: int) -> float:
    """Chance that `fewest` frames or more lose a box when each box is lost with chance `drop`."""
    below = np.zeros(fewest)
    below[0] = 1.0
    for size, count in design.boxes_by_frame.items():
        chance = 1.0 - (1.0 - drop) ** (size / design.clumping)
        below = np.convolve(below, _few(count, chance, fewest))[:fewest]
    return 1.0 - float(below.sum())


def _few(trials: float, chance: float, length: int) -> NDArray[np.float64]:
    """(length,) binomial chances of 0, 1, ... successes; `trials` need not be whole."""
    whole = math.floor(trials)
    values = np.zeros(length)
    if chance >= 1.0:
        if whole < length:
            values[whole] = 1.0
        return values
    term = (1.0 - chance) ** whole
    odds = chance / (1.0 - chance)
    for successes in range(min(length, whole + 1)):
        values[successes] = term
        term *= (whole - successes) / (successes + 1) * odds
    return values
