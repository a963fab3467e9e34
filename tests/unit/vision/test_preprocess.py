from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import FrameShapeError
from sightloop.vision.preprocess import Placement, letterbox, prepare, to_tensor


@pytest.mark.parametrize(
    ("width", "height", "side", "left", "top", "inner"),
    [
        (200, 200, 160, 0, 0, (160, 160)),
        (640, 480, 640, 0, 80, (640, 480)),
        (100, 50, 200, 0, 50, (200, 100)),
        # An odd border: the spare pixel goes right and down.
        (639, 480, 640, 0, 79, (640, 481)),
        (101, 200, 160, 39, 0, (81, 160)),
        (3000, 1, 160, 0, 79, (160, 1)),
    ],
)
def test_frame_is_scaled_to_fit_and_centred(
    width: int, height: int, side: int, left: int, top: int, inner: tuple[int, int]
) -> None:
    frame = np.full((height, width, 3), 200, np.uint8)
    array, placement = letterbox(frame, side_px=side, pad=7)
    assert array.shape == (side, side, 3)
    assert (placement.left_px, placement.top_px) == (left, top)
    expected = np.full((side, side, 3), 7, np.uint8)
    expected[top : top + inner[1], left : left + inner[0]] = 200
    assert np.array_equal(array, expected)


def test_fitting_frame_is_passed_on_unchanged() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    array, placement = letterbox(frame, side_px=64)
    assert np.array_equal(array, frame)
    assert placement == Placement(scale_x=1.0, scale_y=1.0, left_px=0, top_px=0)


def test_tensor_is_planar_rgb_divided_by_255() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tensor, _ = prepare(frame, side_px=32)
    expected = (frame.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
    assert tensor.dtype == np.float32
    assert tensor.tobytes() == expected.tobytes()
    assert to_tensor(frame).flags.c_contiguous


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (10, 10, 1), (0, 10, 3), (1, 10, 10, 3)])
def test_array_that_is_no_frame_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameShapeError):
        letterbox(np.zeros(shape, np.uint8), side_px=32)


def test_frame_of_another_type_is_refused() -> None:
    with pytest.raises(FrameShapeError):
        letterbox(np.zeros((8, 8, 3), np.float32), side_px=32)


@given(
    width=st.integers(1, 2000), height=st.integers(1, 2000), side=st.sampled_from([160, 320, 640])
)
def test_box_comes_back_to_where_it_was(width: int, height: int, side: int) -> None:
    _, placement = letterbox(np.zeros((height, width, 3), np.uint8), side_px=side)
    boxes = np.array([[0, 0, width, height], [0, 0, width / 3, height / 2]], np.float32)
    back = placement.to_frame(placement.to_input(boxes), width_px=width, height_px=height)
    assert np.allclose(back, boxes, atol=max(width, height) * 1e-5)


def test_corner_of_the_frame_lies_on_the_corner_of_its_pixels() -> None:
    """Each side has its own scale: 426 * 0.25 is 106.5, and 106 rows are drawn."""
    array, placement = letterbox(np.full((426, 640, 3), 255, np.uint8), side_px=160, pad=0)
    rows = np.flatnonzero(array[:, 80, 0])
    corner = placement.to_input(np.array([[0, 0, 640, 426]], np.float32))
    assert corner[0] == pytest.approx([0, rows[0], 160, rows[-1] + 1], abs=1e-4)


def test_boxes_are_clipped_to_the_frame() -> None:
    placement = Placement(scale_x=2.0, scale_y=2.0, left_px=10, top_px=0)
    boxes = np.array([[0, -4, 500, 500]], np.float32)
    assert placement.to_frame(boxes, width_px=40, height_px=30).tolist() == [[0, 0, 40, 30]]
