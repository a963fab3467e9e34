"""What people's labels alone can tell of swapped colours and a wrong class order.

For releases without a checkpoint's detections. Recall hardly sees either fault when it is partial:
here a detector is compared with itself. Counting only; bounds and verdicts are in `behaviour.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop.release.calibration import FrameExpectation
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import match

SCORE_STEP: Final = 0.02
"""A label's score differs between two pictures if it does by so much."""
LOCATED_MIN: Final = 3
"""So many located labels make a class worth a word in a ring."""
LOCATED_SURE: Final = 8
COLOUR_Z_MAX: Final = 2.5
"""Chance of a refusal where colour does not matter: 0.6 %."""
SETTLED_FRAMES_MIN: Final = 4
"""Labels of one frame share its light: so many frames have to speak before the rest is spared."""
RENAMED_FRACTION: Final = 0.75
"""So many located labels, more than this share of them under one other name, need no ring."""


@dataclass(frozen=True, slots=True)
class ColourEvidence:
    """Labels whose score depends on the order of the colour channels.

    Attributes:
        better_given: Labels that score higher on the frame as it is.
        better_swapped: Labels that score higher with red and blue swapped.
        frames: Frames with such a label.
    """

    better_given: int
    better_swapped: int
    frames: int = 0

    def __add__(self, other: ColourEvidence) -> ColourEvidence:
        """Both together."""
        return ColourEvidence(
            self.better_given + other.better_given,
            self.better_swapped + other.better_swapped,
            self.frames + other.frames,
        )

    @property
    def settled(self) -> bool:
        """Whether the frames so far show the colours right as surely as a refusal shows them wrong.

        A network that takes BGR gets here with the chance of that refusal's error at most.
        """
        return self.frames >= SETTLED_FRAMES_MIN and self.sign_test_z < -COLOUR_Z_MAX

    @property
    def sign_test_z(self) -> float:
        """Normal score of the sign test (Dixon and Mood 1946), positive if swapped is better."""
        count = self.better_given + self.better_swapped
        return (self.better_swapped - self.better_given) / math.sqrt(count) if count else 0.0


def swap_colours(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 with the first and the last channel swapped, contiguous."""
    return np.ascontiguousarray(frame[..., ::-1])


def compare_colours(
    frames: Iterable[tuple[FrameExpectation, Detections, Detections]], *, iou: float
) -> ColourEvidence:
    """Count the labels that score higher on either picture.

    Args:
        frames: Frame, detections in it, and detections in it with swapped colours; frame px.
        iou: From this overlap on a detection stands for a label of its class.
    """
    given = swapped = speaking = 0
    for frame, found, found_swapped in frames:
        gain = _label_scores(frame.labels, found_swapped, iou) - _label_scores(
            frame.labels, found, iou
        )
        given += int((gain < -SCORE_STEP).sum())
        swapped += int((gain > SCORE_STEP).sum())
        speaking += bool((np.abs(gain) > SCORE_STEP).any())
    return ColourEvidence(better_given=given, better_swapped=swapped, frames=speaking)


def _label_scores(labels: Labels, found: Detections, iou: float) -> NDArray[np.float64]:
    """Score of each label's detection, 0 where there is none."""
    scores = np.zeros(len(labels))
    pairs = match(
        labels.boxes, labels.classes, found.boxes, found.classes, iou=iou, scores=found.scores
    )
    scores[pairs[:, 0]] = found.scores[pairs[:, 1]]
    return scores


@dataclass(frozen=True, slots=True)
class UsualName:
    """The class that the located labels of a class are most often given.

    Attributes:
        given: That class.
        times: How many of the located labels are given it.
        located: How many labels are located.
    """

    given: int
    times: int
    located: int


def usual_names(
    frames: Iterable[tuple[FrameExpectation, Detections]], *, iou: float
) -> dict[int, UsualName]:
    """For each labelled class what its located labels are most often called.

    Args:
        frames: Frame and detections in it, frame px.
        iou: From this overlap on a label is located, whatever the class.
    """
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for frame, found in frames:
        labels = frame.labels
        any_class, any_found = np.zeros(len(labels), np.int64), np.zeros(len(found), np.int64)
        pairs = match(labels.boxes, any_class, found.boxes, any_found, iou=iou, scores=found.scores)
        for label, detection in pairs.tolist():
            counts[int(labels.classes[label])][int(found.classes[detection])] += 1
    return {
        index: UsualName(*given.most_common(1)[0], located=given.total())
        for index, given in counts.items()
    }


def find_exchange(names: Mapping[int, UsualName]) -> tuple[int, ...]:
    """Classes whose names are exchanged; empty if there are none.

    One class often taken for another is an ordinary weakness. A ring is a class list in another
    order: no weakness makes cats of dogs and dogs of cats. Nor does one give most of many
    well located objects one and the same other name.
    """
    for index, name in names.items():
        sure = name.located >= LOCATED_SURE and name.times > RENAMED_FRACTION * name.located
        if sure and name.given != index:
            return (index, name.given)
    mostly = {
        index: name.given
        for index, name in names.items()
        if name.located >= LOCATED_MIN and 2 * name.times > name.located
    }
    for start in mostly:
        ring, current = [start], mostly[start]
        while current in mostly and current not in ring:
            ring.append(current)
            current = mostly[current]
        if current == start and len(ring) > 1:
            return tuple(ring)
    return ()
