from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop.dataset.version import Item
from sightloop.pipeline.evaluation import Evaluation
from sightloop.pipeline.slice_figures import SliceFigures, figures_of
from sightloop.vision.average_precision import evaluate
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.slices import FrameFacts, make_slices

Box = tuple[float, float, float, float]
SMALL: Box = (0, 0, 31, 31)
GROWN: Box = (0, 0, 34, 34)
MEDIUM: Box = (60, 60, 110, 110)
STRAY: Box = (200, 200, 210, 210)


def _labels(*boxes: Box) -> Labels:
    return Labels(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int64))


def _found(*pairs: tuple[Box, float]) -> Detections:
    boxes = np.array([box for box, _ in pairs], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in pairs], np.float32)
    return Detections(boxes, scores, np.zeros(len(pairs), np.int64))


def _evaluation(
    frames: list[tuple[Labels, Detections]], lumas: tuple[float, ...] | None = None
) -> Evaluation:
    labels, found = tuple(one for one, _ in frames), tuple(two for _, two in frames)
    facts = tuple(FrameFacts(320, 320, luma) for luma in lumas or (100.0,) * len(frames))
    item = Item(name="a", image=Path("a"), label=None, split="test")
    return Evaluation(
        report=evaluate(labels, found, 1),
        items=(item,) * len(frames),
        labels=labels,
        found=found,
        cpu_ms=(1.0,) * len(frames),
        facts=facts,
    )


def _figures(evaluation: Evaluation) -> dict[str, SliceFigures]:
    slices = make_slices(evaluation.facts, classes=("pit",))
    figures = figures_of(evaluation, slices, side_px=320, score=0.25)
    return {one.name: one for one in figures}


def test_figures_of_light_are_those_of_its_frames_alone() -> None:
    good = (_labels(SMALL), _found((SMALL, 0.9)))
    blind = (_labels(SMALL), _found())
    figures = _figures(_evaluation([good, good, blind], (120.0, 120.0, 20.0)))
    assert (figures["light=normal"].found, figures["light=normal"].labels) == (2, 2)
    assert (figures["light=dark"].found, figures["light=dark"].labels) == (0, 1)
    assert figures["light=normal"].ap50 == pytest.approx(1.0)
    assert figures["light=dark"].ap50 == 0.0
    assert figures["all"].ap50 == pytest.approx(2 / 3, abs=0.01)


def test_detection_of_a_label_goes_where_the_label_goes() -> None:
    figures = _figures(_evaluation([(_labels(SMALL), _found((GROWN, 0.9)))]))
    small, medium = figures["size=small"], figures["size=medium"]
    assert (small.labels, small.found, small.detections) == (1, 1, 1)
    assert (medium.labels, medium.detections) == (0, 0)
    assert small.ap50 == pytest.approx(1.0)


def test_false_alarm_goes_by_its_own_size() -> None:
    found = _found((SMALL, 0.9), (MEDIUM, 0.8), (STRAY, 0.7))
    figures = _figures(_evaluation([(_labels(SMALL, MEDIUM), found)]))
    assert figures["size=small"].as_dict()["precision"] == 0.5
    assert figures["size=medium"].as_dict()["precision"] == 1.0


def test_average_precision_counts_what_is_below_the_operating_threshold() -> None:
    figures = _figures(_evaluation([(_labels(SMALL), _found((SMALL, 0.1)))]))
    assert figures["size=small"].found == 0
    assert figures["size=small"].ap50 == pytest.approx(1.0)


def test_slice_without_labels_has_no_recall_and_no_average_precision() -> None:
    value = _figures(_evaluation([(_labels(SMALL), _found((SMALL, 0.9)))]))["size=large"].as_dict()
    assert value["ap50"] is None
    assert value["recall"] is None
    assert value["recall_interval"] is None


def test_intervals_hold_the_figures() -> None:
    frame = (_labels(SMALL, MEDIUM), _found((SMALL, 0.9)))
    value = _figures(_evaluation([frame] * 10))["all"].as_dict()
    assert value["recall"] == 0.5
    assert value["recall_interval"] == pytest.approx([0.299, 0.701], abs=0.001)
