from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.vision.matching import iou_matrix, match


def _boxes(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def _classes(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_iou_is_shared_area_over_united_area() -> None:
    a = _boxes([0, 0, 10, 10], [0, 0, 4, 4])
    b = _boxes([0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30])
    expected = [[1, 50 / 150, 0], [16 / 100, 0, 0]]
    assert iou_matrix(a, b) == pytest.approx(np.array(expected))
    assert iou_matrix(a, b).dtype == np.float32


def test_iou_of_boxes_without_area_is_zero() -> None:
    flat = _boxes([5, 5, 5, 9], [8, 8, 2, 2])
    assert not iou_matrix(flat, flat).any()


def test_iou_of_nothing_is_empty() -> None:
    assert iou_matrix(_boxes(), _boxes([0, 0, 1, 1])).shape == (0, 1)


def test_best_overlap_goes_first() -> None:
    expected = _boxes([0, 0, 10, 10], [3, 0, 13, 10])
    found = _boxes([2, 0, 12, 10])
    assert match(expected, _classes(0, 0), found, _classes(0), iou=0.1).tolist() == [[1, 0]]


def test_each_box_is_used_once() -> None:
    expected = _boxes([0, 0, 10, 10])
    found = _boxes([0, 0, 10, 10], [0, 0, 10, 10])
    assert match(expected, _classes(0), found, _classes(0, 0), iou=0.5).tolist() == [[0, 0]]


def test_of_equal_overlaps_the_better_score_goes_first() -> None:
    expected = _boxes([0, 0, 10, 10])
    found = _boxes([0, 0, 10, 10], [0, 0, 10, 10])
    scores = np.array([0.5, 0.9], np.float32)
    pairs = match(expected, _classes(0), found, _classes(0, 0), iou=0.5, scores=scores)
    assert pairs.tolist() == [[0, 1]]


def test_other_class_never_matches() -> None:
    box = _boxes([0, 0, 10, 10])
    assert match(box, _classes(0), box, _classes(1), iou=0.5).shape == (0, 2)


def test_pair_below_the_overlap_is_left_out() -> None:
    expected, found = _boxes([0, 0, 10, 10]), _boxes([5, 0, 15, 10])
    assert len(match(expected, _classes(0), found, _classes(0), iou=0.34)) == 0
    assert len(match(expected, _classes(0), found, _classes(0), iou=0.33)) == 1


def test_boxes_apart_do_not_match_even_at_overlap_zero() -> None:
    expected, found = _boxes([0, 0, 1, 1]), _boxes([5, 5, 6, 6])
    assert len(match(expected, _classes(0), found, _classes(0), iou=0.0)) == 0
