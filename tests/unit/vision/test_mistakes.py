from __future__ import annotations

import numpy as np
import pytest

from sightloop.vision.detections import Detections, Labels
from sightloop.vision.mistakes import (
    Cause,
    JudgedFrame,
    Kind,
    count_mistakes,
    describe,
    judge_frame,
    worst_frames,
)

CLASSES = ("pit", "spot")
Box = tuple[float, float, float, float]
HERE: Box = (10, 10, 30, 30)
THERE: Box = (60, 60, 90, 90)
BESIDE: Box = (10, 22, 30, 42)


def _labels(*rows: tuple[Box, int]) -> Labels:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return Labels(boxes, np.array([category for _, category in rows], np.int64))


def _found(*rows: tuple[Box, int, float]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in rows], np.float32),
        np.array([category for _, category, _ in rows], np.int64),
    )


def _judge(labels: Labels, found: Detections) -> JudgedFrame:
    return judge_frame(labels, found, score=0.25, iou=0.5)


def test_a_right_answer_has_no_mistakes() -> None:
    judged = _judge(_labels((HERE, 0), (THERE, 1)), _found((THERE, 1, 0.9), (HERE, 0, 0.8)))
    assert judged.mistakes == ()
    assert judged.pairs.tolist() in ([[0, 1], [1, 0]], [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("labels", "found", "kind", "cause", "weight", "sentence"),
    [
        (
            _labels((HERE, 0)),
            _found(),
            Kind.MISSED,
            Cause.NOTHING_NEAR,
            1.0,
            "missed pit: no pit near",
        ),
        (
            _labels((HERE, 0)),
            _found((HERE, 0, 0.2)),
            Kind.MISSED,
            Cause.BELOW_THRESHOLD,
            0.8,
            "missed pit: found with 0.2, below 0.25",
        ),
        (
            _labels(),
            _found((HERE, 1, 0.75)),
            Kind.FALSE,
            Cause.NOTHING_NEAR,
            0.75,
            "false spot (0.75): no spot near",
        ),
        (
            _labels((HERE, 0)),
            _found((HERE, 1, 0.75)),
            Kind.WRONG_CLASS,
            Cause.OTHER_CLASS,
            0.75,
            "pit taken for spot (0.75)",
        ),
        (
            _labels((HERE, 0)),
            _found((HERE, 0, 0.9), ((11, 10, 31, 30), 0, 0.5)),
            Kind.FALSE,
            Cause.SECOND_BOX,
            0.5,
            "false pit (0.50): second box on one pit",
        ),
        (
            _labels((HERE, 0), (HERE, 0)),
            _found((HERE, 0, 0.9)),
            Kind.MISSED,
            Cause.TAKEN,
            1.0,
            "missed pit: one box for two labels of pit",
        ),
        (
            _labels((HERE, 0)),
            _found((HERE, 0, 0.9), (HERE, 1, 0.5)),
            Kind.FALSE,
            Cause.OTHER_CLASS,
            0.5,
            "false spot (0.50): a label of another class lies there",
        ),
    ],
)
def test_each_mistake_has_a_kind_a_cause_a_weight_and_words(
    labels: Labels, found: Detections, kind: Kind, cause: Cause, weight: float, sentence: str
) -> None:
    judged = _judge(labels, found)
    (mistake,) = judged.mistakes
    assert (mistake.kind, mistake.cause) == (kind, cause)
    assert mistake.weight == pytest.approx(weight)
    assert describe(mistake, judged, CLASSES, score=0.25) == sentence


def test_a_box_off_its_place_is_missed_and_false() -> None:
    judged = _judge(_labels((HERE, 0)), _found((BESIDE, 0, 0.6)))
    assert [(one.kind, one.cause) for one in judged.mistakes] == [
        (Kind.MISSED, Cause.OFF_PLACE),
        (Kind.FALSE, Cause.OFF_PLACE),
    ]
    assert describe(judged.mistakes[0], judged, CLASSES, score=0.25) == (
        "missed pit: overlaps a pit by 0.25 only"
    )


def test_a_detection_at_the_threshold_is_not_shown() -> None:
    judged = _judge(_labels(), _found((HERE, 0, 0.25)))
    assert judged.mistakes == ()
    assert len(judged.shown) == 0


def test_worst_frames_are_those_with_the_most_and_the_surest_mistakes() -> None:
    frames = [
        _judge(_labels((HERE, 0)), _found((HERE, 0, 0.9))),
        _judge(_labels(), _found((HERE, 0, 0.4))),
        _judge(_labels((HERE, 0), (THERE, 0)), _found()),
        _judge(_labels(), _found((HERE, 0, 0.9))),
    ]
    assert worst_frames(frames, count=9) == [2, 3, 1]
    assert worst_frames(frames, count=1) == [2]
    assert count_mistakes(frames) == {Kind.MISSED: 2, Kind.FALSE: 2, Kind.WRONG_CLASS: 0}
