"""What a detector's answers on a calibration set amount to: counts and offsets, no judgement.

Invariant: a detection matches an expectation of its own class only, each is used once, and offsets
are signed and in pixels of the network's input, so that an error of the network has the same
size on every frame. Edges at the frame's border are left out: they are clipped there and would
hide a shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightloop.release.calibration import FrameExpectation
from sightloop.vision.detections import Detections
from sightloop.vision.matching import match

_BORDER_PX = 4.0
_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """Signed offsets of matched edges, found minus expected, input px.

    Attributes:
        x_px: (n,) of left and right edges.
        y_px: (n,) of top and bottom edges.
    """

    x_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    y_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def edges(self) -> int:
        """How many edges the poorer axis has."""
        return min(len(self.x_px), len(self.y_px))

    @property
    def medians_px(self) -> tuple[float, float]:
        """Median offset in x and y; 0 where there is no edge."""
        return (
            float(np.median(self.x_px)) if len(self.x_px) else 0.0,
            float(np.median(self.y_px)) if len(self.y_px) else 0.0,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Detections held against expected boxes.

    Attributes:
        expected: How many boxes were expected.
        expected_found: How many of them were found.
        sure: How many detections are clear of the threshold.
        sure_expected: How many of those were expected.
        score_differences: (k,) |score - expected score| of the matches; empty without scores.
        offsets: Of the matches.
    """

    expected: int
    expected_found: int
    sure: int
    sure_expected: int
    score_differences: NDArray[np.float64]
    offsets: Offsets

    @property
    def recall(self) -> float:
        """Share of the expected boxes found; 1 where none was expected."""
        return self.expected_found / self.expected if self.expected else 1.0

    @property
    def precision(self) -> float:
        """Share of the clear detections that were expected; 1 where there is none."""
        return self.sure_expected / self.sure if self.sure else 1.0


@dataclass(frozen=True, slots=True)
class Slack:
    """Room around the operating threshold.

    A detection of score 0.2501 on one machine is one of 0.2499 on another: neither its absence
    nor its presence says anything.
    """

    threshold: float
    score: float

    @property
    def low(self) -> float:
        """From this score on a detection may stand for an expected one."""
        return max(0.0, self.threshold - self.score)

    @property
    def high(self) -> float:
        """From this score on a detection must have been expected."""
        return self.threshold + self.score


def against_detections(
    pairs: Iterable[tuple[FrameExpectation, Detections, Detections]],
    *,
    side_px: int,
    iou: float,
    slack: Slack,
) -> Agreement:
    """Hold found against expected detections.

    Args:
        pairs: Frame, expected detections, and those found from `slack.low` on; frame px.
        side_px: Side of the network's input.
        iou: From this overlap on two boxes of a class are the same.
        slack: Room around the threshold.
    """
    parts = [
        _agreement(frame, expected, found, side_px=side_px, iou=iou, slack=slack)
        for frame, expected, found in pairs
    ]
    return _sum(parts)


def against_labels(
    pairs: Iterable[tuple[FrameExpectation, Detections]],
    *,
    side_px: int,
    iou: float,
    threshold: float,
) -> Agreement:
    """Hold detections from `threshold` on against what people marked; as above otherwise."""
    parts = []
    for frame, found in pairs:
        labels = frame.labels
        marked = Detections(labels.boxes, np.ones(len(labels), np.float32), labels.classes)
        answer = above(found, threshold)
        parts.append(
            _agreement(frame, marked, answer, side_px=side_px, iou=iou, slack=Slack(threshold, 0.0))
        )
    return _sum(parts)


def above(found: Detections, threshold: float) -> Detections:
    """Those of `found` that score above `threshold`."""
    keep = found.scores > threshold
    return Detections(found.boxes[keep], found.scores[keep], found.classes[keep])


def _agreement(
    frame: FrameExpectation,
    expected: Detections,
    found: Detections,
    *,
    side_px: int,
    iou: float,
    slack: Slack,
) -> Agreement:
    pairs = match(
        expected.boxes, expected.classes, found.boxes, found.classes, iou=iou, scores=found.scores
    )
    ours, theirs = pairs[:, 0], pairs[:, 1]
    sure = found.scores > slack.high
    differences = np.abs(found.scores[theirs].astype(float) - expected.scores[ours].astype(float))
    return Agreement(
        expected=len(expected),
        expected_found=len(pairs),
        sure=int(sure.sum()),
        sure_expected=int(sure[theirs].sum()),
        score_differences=differences,
        offsets=_offsets(frame, expected.boxes[ours], found.boxes[theirs], side_px),
    )


def _offsets(
    frame: FrameExpectation,
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    side_px: int,
) -> Offsets:
    scale = min(side_px / frame.width_px, side_px / frame.height_px)
    border = _BORDER_PX / scale
    size = np.array([frame.width_px, frame.height_px] * 2, np.float64)
    free = (np.minimum(expected, found) > border) & (np.maximum(expected, found) < size - border)
    moved = (found.astype(np.float64) - expected.astype(np.float64)) * scale
    x, y = [_LEFT, _RIGHT], [_TOP, _BOTTOM]
    return Offsets(x_px=moved[:, x][free[:, x]], y_px=moved[:, y][free[:, y]])


def _sum(parts: Sequence[Agreement]) -> Agreement:
    none: list[NDArray[np.float64]] = [np.zeros(0)]
    return Agreement(
        expected=sum(part.expected for part in parts),
        expected_found=sum(part.expected_found for part in parts),
        sure=sum(part.sure for part in parts),
        sure_expected=sum(part.sure_expected for part in parts),
        score_differences=np.concatenate(none + [part.score_differences for part in parts]),
        offsets=Offsets(
            x_px=np.concatenate(none + [part.offsets.x_px for part in parts]),
            y_px=np.concatenate(none + [part.offsets.y_px for part in parts]),
        ),
    )
