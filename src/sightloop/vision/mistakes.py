"""What is wrong in an answer, mistake by mistake, and which frames show the worst.

Labels and detections at the operating threshold are paired by class and overlap first, so that
what is right here is what recall and precision count. What is left is paired by overlap alone: a
box in its place under another class. The rest is missed or false. Nothing is drawn or judged here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import iou_matrix, match

NEAR_IOU: Final = 0.1
"""Boxes that overlap less have nothing to do with each other."""


class Kind(StrEnum):
    """Ways to be wrong."""

    MISSED = "missed"
    """A label that nothing was found for."""
    FALSE = "false"
    """A detection that is no label."""
    WRONG_CLASS = "wrong class"
    """A label that was found under another class."""


class Cause(StrEnum):
    """What lies near a mistake."""

    NOTHING_NEAR = "nothing near"
    """No box of the class overlaps."""
    OFF_PLACE = "off place"
    """A box of the class overlaps, but too little."""
    BELOW_THRESHOLD = "below threshold"
    """The label was found, with too low a score."""
    SECOND_BOX = "second box"
    """The label has a better detection already."""
    TAKEN = "taken"
    """The only box that would do is another label's."""
    OTHER_CLASS = "other class"
    """A label of another class lies there."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong.

    Attributes:
        kind: Missed, false or of the wrong class.
        cause: What lies near it.
        label: Index of the label; None for a false detection.
        found: Index of the shown detection; None for a missed label.
        weight: How sure the detector was of what is wrong, 0..1: the score of a detection, and of
            a missed label 1 minus the score that it was found with below the threshold.
        near: IoU with what lies near, or the score below the threshold; 0 where nothing does.
    """

    kind: Kind
    cause: Cause
    label: int | None
    found: int | None
    weight: float
    near: float


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFrame:
    """A frame's answer, held against its labels.

    Attributes:
        labels: What people marked.
        shown: Detections above the operating threshold.
        pairs: (k, 2) index of a label and of the detection that is it, class included.
        mistakes: Everything else.
    """

    labels: Labels
    shown: Detections
    pairs: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]

    @property
    def weight(self) -> float:
        """How wrong the answer is: the sum over its mistakes."""
        return sum(one.weight for one in self.mistakes)

    def count(self, kind: Kind) -> int:
        """How many mistakes are of a kind."""
        return sum(one.kind is kind for one in self.mistakes)


def judge_frame(labels: Labels, every: Detections, *, score: float, iou: float) -> JudgedFrame:
    """Hold an answer against the labels.

    Args:
        labels: What people marked, frame px.
        every: What was found, frame px; below the threshold too, to tell why a label was missed.
        score: Operating threshold: detections above it are shown.
        iou: From which overlap on a detection can be a label.
    """
    kept = every.scores > score
    shown, hidden = _chosen(every, kept), _chosen(every, ~kept)
    pairs = match(
        labels.boxes, labels.classes, shown.boxes, shown.classes, iou=iou, scores=shown.scores
    )
    missed = np.setdiff1d(np.arange(len(labels)), pairs[:, 0])
    extra = np.setdiff1d(np.arange(len(shown)), pairs[:, 1])
    crossed = match(
        labels.boxes[missed],
        np.zeros(len(missed), np.int64),
        shown.boxes[extra],
        np.zeros(len(extra), np.int64),
        iou=iou,
        scores=shown.scores[extra],
    )
    swapped = [(int(missed[row]), int(extra[column])) for row, column in crossed]
    mistakes = [_wrong_class(labels, shown, *pair) for pair in swapped]
    mistakes += [
        _missed(labels, shown, hidden, int(index), iou)
        for index in np.setdiff1d(missed, [label for label, _ in swapped])
    ]
    mistakes += [
        _false(labels, shown, int(index), iou)
        for index in np.setdiff1d(extra, [found for _, found in swapped])
    ]
    ordered = sorted(mistakes, key=lambda one: -one.weight)
    return JudgedFrame(labels, shown, pairs, tuple(ordered))


def worst_frames(frames: Sequence[JudgedFrame], *, count: int) -> list[int]:
    """Numbers of the frames that are most wrong, the worst first; those without a mistake never."""
    wrong = [number for number, frame in enumerate(frames) if frame.mistakes]
    wrong.sort(key=lambda number: (-frames[number].weight, number))
    return wrong[:count]


def count_mistakes(frames: Sequence[JudgedFrame]) -> dict[Kind, int]:
    """How many mistakes of each kind the frames have together."""
    return {kind: sum(frame.count(kind) for frame in frames) for kind in Kind}


def describe(mistake: Mistake, frame: JudgedFrame, classes: Sequence[str], *, score: float) -> str:
    """A mistake in words: what is wrong, and what lies near."""
    label = None if mistake.label is None else classes[int(frame.labels.classes[mistake.label])]
    found, sure = None, 0.0
    if mistake.found is not None:
        found = classes[int(frame.shown.classes[mistake.found])]
        sure = float(frame.shown.scores[mistake.found])
    if mistake.kind is Kind.WRONG_CLASS:
        return f"{label} taken for {found} ({sure:.2f})"
    what = f"missed {label}" if found is None else f"false {found} ({sure:.2f})"
    name = label or found
    near = {
        Cause.NOTHING_NEAR: f"no {name} near",
        Cause.OFF_PLACE: f"overlaps a {name} by {math.floor(100 * mistake.near) / 100:.2f} only",
        Cause.BELOW_THRESHOLD: f"found with {mistake.near:.2g}, below {score:g}",
        Cause.SECOND_BOX: f"second box on one {name}",
        Cause.TAKEN: f"one box for two labels of {name}",
        Cause.OTHER_CLASS: "a label of another class lies there",
    }
    return f"{what}: {near[mistake.cause]}"


def _wrong_class(labels: Labels, shown: Detections, label: int, found: int) -> Mistake:
    overlap = _overlaps(labels.boxes[label], shown.boxes[[found]])
    weight = float(shown.scores[found])
    return Mistake(Kind.WRONG_CLASS, Cause.OTHER_CLASS, label, found, weight, float(overlap[0]))


def _missed(
    labels: Labels, shown: Detections, hidden: Detections, label: int, iou: float
) -> Mistake:
    box, category = labels.boxes[label], labels.classes[label]
    low = (_overlaps(box, hidden.boxes) >= iou) & (hidden.classes == category)
    if low.any():
        score = float(hidden.scores[low].max())
        return Mistake(Kind.MISSED, Cause.BELOW_THRESHOLD, label, None, 1.0 - score, score)
    nearest = _nearest(box, shown.boxes[shown.classes == category])
    cause = Cause.NOTHING_NEAR
    if nearest >= iou:
        cause = Cause.TAKEN
    elif nearest >= NEAR_IOU:
        cause = Cause.OFF_PLACE
    return Mistake(Kind.MISSED, cause, label, None, 1.0, nearest)


def _false(labels: Labels, shown: Detections, found: int, iou: float) -> Mistake:
    box, category = shown.boxes[found], shown.classes[found]
    nearest = _nearest(box, labels.boxes[labels.classes == category])
    cause = Cause.NOTHING_NEAR
    if nearest >= iou:
        cause = Cause.SECOND_BOX
    elif nearest >= NEAR_IOU:
        cause = Cause.OFF_PLACE
    elif _nearest(box, labels.boxes) >= iou:
        cause = Cause.OTHER_CLASS
    return Mistake(Kind.FALSE, cause, None, found, float(shown.scores[found]), nearest)


def _nearest(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> float:
    return float(_overlaps(box, boxes).max()) if len(boxes) else 0.0


def _overlaps(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return iou_matrix(box[None], boxes).reshape(-1)


def _chosen(found: Detections, mask: NDArray[np.bool_]) -> Detections:
    return Detections(found.boxes[mask], found.scores[mask], found.classes[mask])
