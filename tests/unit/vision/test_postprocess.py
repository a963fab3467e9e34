from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.vision.detections import Detections
from sightloop.vision.matching import iou_matrix
from sightloop.vision.postprocess import Layout, decode_output, suppress


def _decode(
    raw: NDArray[np.float32],
    *,
    layout: Layout = "raw",
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
    max_candidates: int = 1000,
    max_detections: int = 300,
) -> Detections:
    return decode_output(
        raw,
        layout=layout,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_candidates=max_candidates,
        max_detections=max_detections,
    )


def _raw(*anchors: list[float]) -> NDArray[np.float32]:
    """Anchors as rows of cx cy w h and scores."""
    return np.array(anchors, np.float32).T[None]


def _random_raw(seed: int, *, anchors: int, classes: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = rng.integers(50, 500, (8, 2))[rng.integers(0, 8, anchors)]
    sizes = rng.uniform(20, 60, (anchors, 2))
    scores = rng.random((anchors, classes)) ** 2
    rows = np.concatenate([centres + rng.normal(0, 5, (anchors, 2)), sizes, scores], axis=1)
    return rows.T[None].astype(np.float32)


def _greedy(boxes: NDArray[np.float32], classes: NDArray[np.int64], iou: float) -> list[int]:
    """The textbook's suppression, one box at a time."""
    overlaps = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for index in range(len(boxes)):
        rivals = [other for other in kept if classes[other] == classes[index]]
        if all(overlaps[index, other] <= iou for other in rivals):
            kept.append(index)
    return kept


def test_raw_anchor_becomes_corners_with_its_best_class() -> None:
    found = _decode(_raw([50, 40, 20, 10, 0.1, 0.8, 0.3]))
    assert found.boxes.tolist() == [[40, 35, 60, 45]]
    assert found.classes.tolist() == [1]
    assert found.scores.tolist() == [np.float32(0.8)]
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.classes.dtype == np.int64


def test_score_must_lie_above_the_threshold() -> None:
    raw = _raw([50, 50, 20, 20, 0.5, 0], [150, 50, 20, 20, 0.75, 0])
    assert _decode(raw, score_threshold=0.5).scores.tolist() == [0.75]
    assert len(_decode(raw, score_threshold=0.75)) == 0


def test_overlapping_box_of_same_class_is_suppressed() -> None:
    raw = _raw([50, 50, 20, 20, 0.6, 0], [52, 50, 20, 20, 0.9, 0])
    assert _decode(raw).boxes.tolist() == [[42, 40, 62, 60]]


def test_overlapping_box_of_other_class_stays() -> None:
    raw = _raw([50, 50, 20, 20, 0.6, 0], [50, 50, 20, 20, 0, 0.9])
    assert _decode(raw).classes.tolist() == [1, 0]


def test_box_that_overlaps_less_stays() -> None:
    raw = _raw([50, 50, 20, 20, 0.6, 0], [58, 50, 20, 20, 0.9, 0])
    assert len(_decode(raw, iou_threshold=0.5)) == 2
    assert len(_decode(raw, iou_threshold=0.4)) == 1


def test_candidates_are_capped_by_score_before_suppression() -> None:
    # The two best hide each other; with a cap of two nothing else gets in.
    raw = _raw([50, 50, 20, 20, 0.9], [51, 50, 20, 20, 0.8], [200, 50, 20, 20, 0.7])
    assert len(_decode(raw)) == 2
    assert _decode(raw, max_candidates=2).scores.tolist() == [np.float32(0.9)]


def test_only_the_best_detections_are_given() -> None:
    raw = _random_raw(0, anchors=200, classes=3)
    every, few = _decode(raw), _decode(raw, max_detections=5)
    assert len(few) == 5
    assert few.scores.tolist() == every.scores[:5].tolist()


@given(st.integers(0, 1000))
def test_suppression_is_the_textbooks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-20, 100, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 60, (60, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    classes = rng.integers(0, 4, 60)
    kept = suppress(boxes, classes, iou_threshold=0.45)
    assert kept.tolist() == _greedy(boxes, classes, 0.45)


def test_far_classes_do_not_round_boxes() -> None:
    """Moving classes apart must not cost float precision, whatever the class's index."""
    boxes = np.array([[10, 10, 10.5, 10.5], [10.02, 10, 10.52, 10.5]], np.float32)
    classes = np.array([5000, 5000])
    assert suppress(boxes, classes, iou_threshold=0.95).tolist() == [0, 1]
    assert suppress(boxes, classes, iou_threshold=0.90).tolist() == [0]


def test_same_output_gives_the_same_detections_and_ties_keep_their_order() -> None:
    raw = _random_raw(1, anchors=300, classes=4)
    raw[0, 4:] = np.round(raw[0, 4:], 1)
    first, second = _decode(raw), _decode(raw.copy())
    assert first.boxes.tobytes() == second.boxes.tobytes()
    assert (np.diff(first.scores) <= 0).all()
    tie = _raw([50, 50, 20, 20, 0.5], [150, 50, 20, 20, 0.5], [250, 50, 20, 20, 0.5])
    assert _decode(tie).boxes[:, 0].tolist() == [40, 140, 240]


def test_nothing_found_is_an_empty_answer() -> None:
    found = _decode(np.zeros((1, 6, 30), np.float32))
    assert found.boxes.shape == (0, 4)
    assert len(found) == 0


@pytest.mark.parametrize("layout", ["raw", "end_to_end"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_not_finite_is_refused(layout: Layout, value: float) -> None:
    raw = np.zeros((1, 6, 6), np.float32)
    raw[0, 0, 3] = value
    with pytest.raises(BackendError) as caught:
        _decode(raw, layout=layout)
    assert caught.value.reason == "output_not_finite"


def test_huge_finite_numbers_are_not_called_infinite() -> None:
    raw = np.full((1, 6, 100), 3e38, np.float32)
    raw[0, 4:] = 0
    assert len(_decode(raw)) == 0


def test_end_to_end_rows_are_read_as_they_are() -> None:
    rows = [
        [10, 20, 30, 40, 0.5, 2],
        [10, 20, 30, 40, 0.9, 2],
        [1, 2, 3, 4, 0.7, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    found = _decode(np.array([rows], np.float32), layout="end_to_end", max_detections=2)
    assert found.boxes.tolist() == [[10, 20, 30, 40], [1, 2, 3, 4]]
    assert found.classes.tolist() == [2, 0]
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.7)]


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("raw", (1, 4, 10)),
        ("raw", (2, 6, 10)),
        ("raw", (6, 10)),
        ("end_to_end", (1, 10, 7)),
        ("end_to_end", (2, 10, 6)),
    ],
)
def test_output_of_another_shape_is_refused(layout: Layout, shape: tuple[int, ...]) -> None:
    with pytest.raises(BackendError) as caught:
        _decode(np.zeros(shape, np.float32), layout=layout)
    assert caught.value.reason == "output_shape"


def test_opencv_offers_the_suppression_used() -> None:
    """OpenCV 4.10 to 5.x: lists in, indices in the order of the scores out."""
    kept = cv2.dnn.NMSBoxes([[0.0, 0.0, 5.0, 5.0], [50.0, 0.0, 5.0, 5.0]], [1, 2], 0.0, 0.5)
    assert np.asarray(kept).reshape(-1).tolist() == [1, 0]
