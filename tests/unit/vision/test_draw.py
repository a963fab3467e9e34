from __future__ import annotations

import numpy as np

from sightloop.vision.detections import Detections, no_detections
from sightloop.vision.draw import draw_detections


def _detections() -> Detections:
    boxes = np.array([[20, 30, 90, 80]], np.float32)
    return Detections(boxes, np.array([0.9], np.float32), np.array([1]))


def test_box_is_drawn_on_a_copy() -> None:
    frame = np.full((120, 160, 3), 128, np.uint8)
    picture = draw_detections(frame, _detections(), ("pit", "spot"))
    assert (frame == 128).all()
    assert picture.shape == frame.shape
    assert (picture[30:81, 20] != 128).any(axis=1).all()
    assert (picture[80, 20:91] != 128).any(axis=1).all()
    assert (picture[35:75, 30:80] == 128).all()


def test_name_at_the_upper_edge_stays_inside() -> None:
    frame = np.full((120, 160, 3), 128, np.uint8)
    boxes = np.array([[20, 0, 90, 80]], np.float32)
    found = Detections(boxes, np.array([0.9], np.float32), np.array([1]))
    picture = draw_detections(frame, found, ("pit", "spot"))
    assert (picture[3:12, 22:60] != 128).any()


def test_nothing_found_changes_nothing() -> None:
    frame = np.full((40, 40, 3), 9, np.uint8)
    assert np.array_equal(draw_detections(frame, no_detections(), ()), frame)
