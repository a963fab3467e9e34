"""Answers become counts and offsets."""

from __future__ import annotations

import numpy as np
import pytest

from sightloop.gates.evidence import Slack, above, against_detections, against_labels
from sightloop.release.calibration import FrameExpectation
from sightloop.vision.detections import Detections, Labels, no_detections

SLACK = Slack(threshold=0.25, score=0.05)


def _found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(int)
    )


def _frame(labels: Detections, size: int = 320) -> FrameExpectation:
    return FrameExpectation("f.png", size, size, Labels(labels.boxes, labels.classes), None)


BOX = (100.0, 100.0, 150.0, 150.0)


def test_offset_is_signed_and_in_input_pixels() -> None:
    expected = _found((*BOX, 0.9, 0))
    found = _found((102, 99, 152, 149, 0.9, 0))
    agreement = against_detections(
        [(_frame(expected), expected, found)], side_px=640, iou=0.5, slack=SLACK
    )
    assert agreement.offsets.medians_px == pytest.approx((4.0, -2.0))
    assert agreement.offsets.edges == 2


def test_edges_clipped_at_the_border_say_nothing() -> None:
    expected = _found((0, 100, 50, 320, 0.9, 0))
    agreement = against_detections(
        [(_frame(expected), expected, expected)], side_px=320, iou=0.5, slack=SLACK
    )
    assert len(agreement.offsets.x_px) == len(agreement.offsets.y_px) == 1


@pytest.mark.parametrize(
    ("score", "recall", "precision"), [(0.21, 1.0, 1.0), (0.29, 1.0, 1.0), (0.9, 1.0, 1.0)]
)
def test_score_beside_the_threshold_is_neither_missed_nor_unexpected(
    score: float, recall: float, precision: float
) -> None:
    expected, found = _found((*BOX, 0.26, 0)), _found((*BOX, score, 0))
    agreement = against_detections(
        [(_frame(expected), expected, found), (_frame(expected), no_detections(), _weak())],
        side_px=320,
        iou=0.5,
        slack=SLACK,
    )
    assert (agreement.recall, agreement.precision) == (recall, precision)


def _weak() -> Detections:
    return _found((*BOX, 0.28, 0))


def test_clear_detection_nobody_expected_counts() -> None:
    agreement = against_detections(
        [(_frame(no_detections()), no_detections(), _found((*BOX, 0.5, 0)))],
        side_px=320,
        iou=0.5,
        slack=SLACK,
    )
    assert (agreement.sure, agreement.sure_expected, agreement.precision) == (1, 0, 0.0)


def test_other_class_is_no_match() -> None:
    expected = _found((*BOX, 0.9, 0))
    agreement = against_detections(
        [(_frame(expected), expected, _found((*BOX, 0.9, 1)))], side_px=320, iou=0.5, slack=SLACK
    )
    assert (agreement.recall, agreement.precision) == (0.0, 0.0)


def test_labels_are_found_above_the_threshold_alone() -> None:
    frame = _frame(_found((*BOX, 1.0, 0)))
    for score, recall in ((0.26, 1.0), (0.24, 0.0)):
        agreement = against_labels(
            [(frame, _found((*BOX, score, 0)))], side_px=320, iou=0.5, threshold=0.25
        )
        assert agreement.recall == recall


def test_nothing_expected_is_nothing_missed() -> None:
    agreement = against_detections([], side_px=320, iou=0.5, slack=SLACK)
    assert (agreement.recall, agreement.precision, agreement.offsets.edges) == (1.0, 1.0, 0)
    assert agreement.offsets.medians_px == (0.0, 0.0)


def test_above_keeps_what_scores_more() -> None:
    assert len(above(_found((*BOX, 0.3, 0), (*BOX, 0.25, 0)), 0.25)) == 1
