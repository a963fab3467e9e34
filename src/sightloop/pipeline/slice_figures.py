"""How good one network is on each slice of a labelled set: figures with intervals, no judgement.

A detection that is a label goes where the label goes, so that a box just over a bound of size is
no miss in one slice and no false alarm in the next; any other goes by its own light, class, size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightloop.gates.evidence import above
from sightloop.gates.quality import MATCH_IOU
from sightloop.pipeline.evaluation import Evaluation
from sightloop.statistics.intervals import Interval, wilson_interval
from sightloop.vision.average_precision import ApReport, evaluate
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import match
from sightloop.vision.slices import ALL, Slice, input_scale


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """One slice's figures; None where there is nothing to divide by.

    Attributes:
        name: Of the slice.
        frames: Frames that belong to it, with or without a box.
        labels: Boxes that people marked.
        found: How many of them were found at the operating threshold.
        detections: Detections at the operating threshold; `found` of them are a label.
        ap50: Average precision at IoU 0.5; the mean over classes where the slice has several.
    """

    name: str
    frames: int
    labels: int
    found: int
    detections: int
    ap50: float | None

    def as_dict(self) -> dict[str, object]:
        """The figures for metrics.json; intervals are 95 % Wilson intervals."""
        recall = wilson_interval(self.found, self.labels)
        precision = wilson_interval(self.found, self.detections)
        return {
            "frames": self.frames,
            "labels": self.labels,
            "detections": self.detections,
            "ap50": self.ap50,
            "recall": self.found / self.labels if self.labels else None,
            "recall_interval": _ends(recall),
            "precision": self.found / self.detections if self.detections else None,
            "precision_interval": _ends(precision),
        }


def figures_of(
    evaluation: Evaluation, slices: Sequence[Slice], *, side_px: int, score: float
) -> tuple[SliceFigures, ...]:
    """Work out each slice's figures.

    Args:
        evaluation: What was found, down to a low score.
        slices: Of `make_slices` over the evaluation's facts.
        side_px: Side of the network's input.
        score: Operating threshold.
    """
    scales = [input_scale(facts, side_px=side_px) for facts in evaluation.facts]
    shown, every = _frames(evaluation, score=score), _frames(evaluation, score=0.0)
    report = evaluation.report
    return tuple(
        _figures(one, shown, scales, ap50=_ap50(one, report, every, scales)) for one in slices
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A frame's labels and detections from some score on.

    Attributes:
        labels: What people marked.
        found: What was found.
        pairs: (k, 2) index of a label and of the detection that is it.
    """

    labels: Labels
    found: Detections
    pairs: NDArray[np.int64]

    def belonging(
        self, slice_: Slice, number: int, *, scale: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which labels and which detections belong to a slice."""
        ours = slice_.holds(number, self.labels.boxes, self.labels.classes, scale=scale)
        theirs = slice_.holds(number, self.found.boxes, self.found.classes, scale=scale)
        theirs[self.pairs[:, 1]] = ours[self.pairs[:, 0]]
        return ours, theirs


def _frames(evaluation: Evaluation, *, score: float) -> list[_Frame]:
    frames = []
    for labels, every in zip(evaluation.labels, evaluation.found, strict=True):
        found = above(every, score)
        pairs = match(
            labels.boxes,
            labels.classes,
            found.boxes,
            found.classes,
            iou=MATCH_IOU,
            scores=found.scores,
        )
        frames.append(_Frame(labels, found, pairs))
    return frames


def _figures(
    slice_: Slice, frames: Sequence[_Frame], scales: Sequence[float], *, ap50: float | None
) -> SliceFigures:
    labels = found = detections = 0
    for number, frame in enumerate(frames):
        if slice_.frames[number]:
            ours, theirs = frame.belonging(slice_, number, scale=scales[number])
            labels += int(ours.sum())
            found += int(ours[frame.pairs[:, 0]].sum())
            detections += int(theirs.sum())
    return SliceFigures(slice_.name, sum(slice_.frames), labels, found, detections, ap50)


def _ap50(
    slice_: Slice,
    report: ApReport,
    frames: Sequence[_Frame],
    scales: Sequence[float],
) -> float | None:
    """A class's and that of everything are known; the rest is worked out on what belongs."""
    if slice_.class_index is not None:
        return report.ap50[slice_.class_index]
    if slice_.name == ALL:
        return report.map50
    labels: list[Labels] = []
    found: list[Detections] = []
    for number, frame in enumerate(frames):
        if slice_.frames[number]:
            ours, theirs = frame.belonging(slice_, number, scale=scales[number])
            marked, every = frame.labels, frame.found
            labels.append(Labels(marked.boxes[ours], marked.classes[ours]))
            found.append(
                Detections(every.boxes[theirs], every.scores[theirs], every.classes[theirs])
            )
    return evaluate(labels, found, len(report.ap50)).map50


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
