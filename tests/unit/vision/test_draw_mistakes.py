from __future__ import annotations

import numpy as np
import pytest

from sightloop.vision.detections import Detections, Labels
from sightloop.vision.draw_mistakes import PANEL_PX, draw_comparison, draw_mistakes
from sightloop.vision.mistakes import JudgedFrame, judge_frame

RED, ORANGE, GREEN = (225, 50, 50), (235, 140, 20), (40, 170, 90)


def _judged() -> JudgedFrame:
    labels = Labels(np.array([[10, 30, 40, 60], [60, 30, 90, 60]], np.float32), np.array([0, 1]))
    found = Detections(
        np.array([[10, 30, 40, 60], [95, 60, 118, 78]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([0, 0]),
    )
    return judge_frame(labels, found, score=0.25, iou=0.5)


def _picture(width: int = 120, height: int = 80) -> np.typing.NDArray[np.uint8]:
    frame = np.full((height, width, 3), 128, np.uint8)
    picture = draw_mistakes(frame, _judged(), ("pit", "spot"))
    assert (frame == 128).all()
    return picture


def _has(picture: np.typing.NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour, np.uint8)).all(axis=2).any())


def test_left_shows_what_was_missed_and_right_what_is_false() -> None:
    picture = _picture()
    left, right = picture[:, :PANEL_PX], picture[:, -PANEL_PX:]
    assert _has(left, RED)
    assert not _has(left, ORANGE)
    assert _has(right, ORANGE)
    assert not _has(right, RED)
    assert _has(left, GREEN)
    assert _has(right, GREEN)


@pytest.mark.parametrize(("width", "height"), [(120, 80), (2000, 1500)])
def test_both_panels_have_one_size_whatever_the_frames_is(width: int, height: int) -> None:
    picture = _picture(width, height)
    assert picture.shape[0] == round(height * PANEL_PX / width)
    assert picture.shape[1] > 2 * PANEL_PX


def test_a_comparison_shows_what_each_answer_misses() -> None:
    wrong = _judged()
    nothing = np.zeros((0, 4), np.float32)
    empty = Detections(nothing, np.zeros(0, np.float32), np.zeros(0, np.int64))
    blind = judge_frame(wrong.labels, empty, score=0.25, iou=0.5)
    frame = np.full((80, 120, 3), 128, np.uint8)
    picture = draw_comparison(frame, (wrong, blind), ("pit", "spot"), titles=("1.0.0", "1.1.0"))
    left, right = picture[:, :PANEL_PX], picture[:, -PANEL_PX:]
    assert _has(left, RED)
    assert _has(left, GREEN)
    assert _has(right, RED)
    assert not _has(right, GREEN)
