"""Fit a frame into a detector's square input, and map boxes back.

Evaluation, gates and server all call this file: two versions of preprocessing are a silent loss
of recall. The pixels agree with Ultralytics' LetterBox (square, centred, scaled up too, linear)
and `Placement` with its way back. Nothing is decoded here and no network is run.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.errors import FrameShapeError

PAD = 114
"""Grey level of the border that detectors of the YOLO family are trained with."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the frame lies in the input: pixels_in = pixels_frame * scale + offset.

    The two scales differ by the rounding of each side to whole pixels; at 640 px of frame one
    scale for both would misplace a box by up to 2 px.
    """

    scale_x: float
    scale_y: float
    left_px: int
    top_px: int

    def to_frame(
        self, boxes: NDArray[np.float32], *, width_px: int, height_px: int
    ) -> NDArray[np.float32]:
        """Map boxes of the input back to the frame.

        Args:
            boxes: (n, 4) float32, x1 y1 x2 y2 in input pixels.
            width_px: Width of the frame.
            height_px: Height of the frame.

        Returns:
            (n, 4) float32 in frame pixels, clipped to the frame.
        """
        limit = np.array([width_px, height_px, width_px, height_px], np.float32)
        mapped: NDArray[np.float32] = (boxes - self._offset()) / self._scales()
        return np.clip(mapped, np.float32(0), limit)

    def to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map boxes of the frame, (n, 4) x1 y1 x2 y2 in pixels, to the input. Not clipped."""
        mapped: NDArray[np.float32] = boxes * self._scales() + self._offset()
        return mapped

    def _scales(self) -> NDArray[np.float32]:
        return np.array([self.scale_x, self.scale_y] * 2, np.float32)

    def _offset(self) -> NDArray[np.float32]:
        return np.array([self.left_px, self.top_px] * 2, np.float32)


def check_frame(frame: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of a frame in pixels.

    Raises:
        FrameShapeError: `frame` is not (H, W, 3) uint8 with at least one pixel.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise FrameShapeError(
            f"frame: expected (H, W, 3) uint8 RGB, found {frame.shape} {frame.dtype}; "
            "decode images with sightloop.vision.decode"
        )
    return frame.shape[1], frame.shape[0]


def letterbox(
    frame: NDArray[np.uint8], *, side_px: int, pad: int = PAD
) -> tuple[NDArray[np.uint8], Placement]:
    """Scale `frame` to fit a square of `side_px` and centre it on grey.

    Args:
        frame: (H, W, 3) uint8, RGB.
        side_px: Side of the detector's input.
        pad: Grey level of the border.

    Returns:
        (side_px, side_px, 3) uint8 RGB, and the placement to map boxes back. The array is
        `frame` itself when it fits already.

    Raises:
        FrameShapeError: `frame` is not (H, W, 3) uint8.
    """
    width, height = check_frame(frame)
    scale = min(side_px / height, side_px / width)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    # Half a pixel goes to the right and the bottom, as in training.
    left = round((side_px - new_width) / 2 - 0.1)
    top = round((side_px - new_height) / 2 - 0.1)
    placement = Placement(
        scale_x=new_width / width, scale_y=new_height / height, left_px=left, top_px=top
    )
    if (new_width, new_height) != (width, height):
        frame = cv2.resize(frame, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    if (new_width, new_height) == (side_px, side_px):
        return frame, placement
    array = np.full((side_px, side_px, 3), pad, np.uint8)
    array[top : top + new_height, left : left + new_width] = frame
    return array, placement


def to_tensor(array: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S, S, 3) uint8 RGB as (1, 3, S, S) float32 in 0..1: each value divided by 255."""
    height, width = array.shape[:2]
    tensor = np.empty((1, 3, height, width), np.float32)
    # By planes: three times quicker than a transpose of the whole, with the same bits.
    for channel, plane in enumerate(cv2.split(array)):
        np.divide(plane, np.float32(255), out=tensor[0, channel])
    return tensor


def prepare(
    frame: NDArray[np.uint8], *, side_px: int, pad: int = PAD
) -> tuple[NDArray[np.float32], Placement]:
    """Letterbox `frame`, (H, W, 3) uint8 RGB, into the tensor that a backend runs on.

    Returns:
        (1, 3, side_px, side_px) float32 RGB in 0..1, and the placement to map boxes back.

    Raises:
        FrameShapeError: `frame` is not (H, W, 3) uint8.
    """
    array, placement = letterbox(frame, side_px=side_px, pad=pad)
    return to_tensor(array), placement
