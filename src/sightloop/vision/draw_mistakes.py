"""A frame twice, side by side, for people to look at: labels and answer, or two answers.

Green is right, red missed, orange false, violet of the wrong class. Nothing is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.vision.draw import write_on
from sightloop.vision.mistakes import JudgedFrame, Kind
from sightloop.vision.preprocess import check_frame

PANEL_PX: Final = 400
"""Longer side of each of the two; small frames are scaled up so that their names can be read."""
_GAP_PX: Final = 6
_GREEN: Final = (40, 170, 90)
_COLOURS: Final[Mapping[Kind, tuple[int, int, int]]] = {
    Kind.MISSED: (225, 50, 50),
    Kind.FALSE: (235, 140, 20),
    Kind.WRONG_CLASS: (160, 70, 220),
}
_INK: Final = (40, 46, 56)

_Box = tuple[NDArray[np.float32], str, tuple[int, int, int]]


def draw_mistakes(
    frame: NDArray[np.uint8], judged: JudgedFrame, classes: Sequence[str]
) -> NDArray[np.uint8]:
    """Draw the labels on the left and the shown detections on the right.

    Args:
        frame: (H, W, 3) uint8 RGB; not changed.
        judged: The answer on this frame.
        classes: Names by class index.

    Returns:
        (h, 2 w + gap, 3) uint8 RGB, where the longer of h and w is `PANEL_PX`.

    Raises:
        FrameShapeError: `frame` is no frame.
    """
    marked = _panel(frame, _expected(judged, classes), "expected")
    return _beside(marked, _panel(frame, _found(judged, classes), "found"))


def draw_comparison(
    frame: NDArray[np.uint8],
    answers: tuple[JudgedFrame, JudgedFrame],
    classes: Sequence[str],
    *,
    titles: tuple[str, str],
) -> NDArray[np.uint8]:
    """Draw two answers on one frame, each with the labels that it misses.

    Args:
        frame: (H, W, 3) uint8 RGB; not changed.
        answers: Left and right.
        classes: Names by class index.
        titles: Of left and right.

    Returns:
        As `draw_mistakes`.

    Raises:
        FrameShapeError: `frame` is no frame.
    """
    left, right = (
        _panel(frame, _missed(judged, classes) + _found(judged, classes), title)
        for judged, title in zip(answers, titles, strict=True)
    )
    return _beside(left, right)


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.full((left.shape[0], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def _missed(judged: JudgedFrame, classes: Sequence[str]) -> list[_Box]:
    labels = judged.labels
    return [
        (
            labels.boxes[one.label],
            f"{classes[int(labels.classes[one.label])]} missed",
            _COLOURS[Kind.MISSED],
        )
        for one in judged.mistakes
        if one.kind is Kind.MISSED and one.label is not None
    ]


def _expected(judged: JudgedFrame, classes: Sequence[str]) -> list[_Box]:
    colours = {one.label: _COLOURS[one.kind] for one in judged.mistakes if one.label is not None}
    labels = judged.labels
    return [
        (box, classes[int(category)], colours.get(index, _GREEN))
        for index, (box, category) in enumerate(zip(labels.boxes, labels.classes, strict=True))
    ]


def _found(judged: JudgedFrame, classes: Sequence[str]) -> list[_Box]:
    """What is shown, the right ones first: what is wrong lies on top."""
    shown = judged.shown
    wrong = {one.found: _COLOURS[one.kind] for one in judged.mistakes if one.found is not None}
    boxes = [
        (
            shown.boxes[index],
            f"{classes[int(shown.classes[index])]} {float(shown.scores[index]):.2f}",
            wrong.get(index, _GREEN),
        )
        for index in range(len(shown))
    ]
    right = [box for index, box in enumerate(boxes) if index not in wrong]
    return right + [box for index, box in enumerate(boxes) if index in wrong]


def _panel(frame: NDArray[np.uint8], boxes: Sequence[_Box], title: str) -> NDArray[np.uint8]:
    width, height = check_frame(frame)
    scale = PANEL_PX / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.ascontiguousarray(cv2.resize(np.ascontiguousarray(frame), size, interpolation=how))
    corners = [[round(edge * scale) for edge in box.tolist()] for box, _, _ in boxes]
    for (x1, y1, x2, y2), (_, _, colour) in zip(corners, boxes, strict=True):
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2)
    # All names after all boxes: no line runs through a name.
    for (x1, y1, _, _), (_, text, colour) in zip(corners, boxes, strict=True):
        write_on(picture, text, x=x1, y=y1, colour=colour, thickness=1)
    write_on(picture, title, x=0, y=0, colour=_INK, thickness=1)
    return picture
