"""Boxes and names drawn onto a frame, for people to look at; nothing is computed from it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.vision.detections import Detections
from sightloop.vision.preprocess import check_frame

_COLOURS = (
    (230, 60, 60),
    (40, 170, 90),
    (50, 110, 240),
    (240, 160, 30),
    (160, 70, 220),
    (20, 180, 190),
    (230, 90, 170),
    (130, 150, 40),
)
_WHITE = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIDE_OF_LINE_PX = 400


def draw_detections(
    frame: NDArray[np.uint8], detections: Detections, classes: Sequence[str]
) -> NDArray[np.uint8]:
    """Draw each box with its class and score.

    Args:
        frame: (H, W, 3) uint8 RGB; not changed.
        detections: Boxes in pixels of the frame.
        classes: Names by class index.

    Returns:
        A copy of the frame with the boxes on it.

    Raises:
        FrameShapeError: `frame` is no frame.
    """
    width, height = check_frame(frame)
    picture = np.ascontiguousarray(frame).copy()
    thickness = max(1, round(max(width, height) / _SIDE_OF_LINE_PX))
    # The best is drawn last, on top.
    for index in reversed(range(len(detections))):
        category = int(detections.classes[index])
        colour = _COLOURS[category % len(_COLOURS)]
        x1, y1, x2, y2 = (round(value) for value in detections.boxes[index].tolist())
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thickness)
        text = f"{classes[category]} {float(detections.scores[index]):.2f}"
        write_on(picture, text, x=x1, y=y1, colour=colour, thickness=thickness)
    return picture


def write_on(
    picture: NDArray[np.uint8],
    text: str,
    *,
    x: int,
    y: int,
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Write on a filled bar above the point, inside the picture: below it at the upper edge."""
    scale = 0.4 * thickness
    (wide, high), base = cv2.getTextSize(text, _FONT, scale, thickness)
    x = max(0, min(x, picture.shape[1] - wide))
    bottom = y if y >= high + base else y + high + base
    cv2.rectangle(picture, (x, bottom - high - base), (x + wide, bottom), colour, cv2.FILLED)
    cv2.putText(picture, text, (x, bottom - base), _FONT, scale, _WHITE, thickness, cv2.LINE_AA)
