from __future__ import annotations

import numpy as np
import pytest

from sightloop.testing.plates import PIT, SPOT, render_plate


def test_seed_gives_the_same_plate_and_another_seed_another() -> None:
    first, again, other = render_plate(1), render_plate(1), render_plate(2)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1].boxes, again[1].boxes)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("side_px", [80, 160, 320])
def test_every_plate_holds_both_kinds_inside_the_frame(side_px: int) -> None:
    for seed in range(20):
        frame, labels = render_plate(seed, side_px=side_px)
        assert frame.shape == (side_px, side_px, 3)
        assert frame.dtype == np.uint8
        assert set(labels.classes.tolist()) == {PIT, SPOT}
        assert (labels.boxes >= 0).all()
        assert (labels.boxes <= side_px).all()


def test_label_lies_on_its_object() -> None:
    frame, labels = render_plate(5)
    plate = float(np.median(frame.mean(axis=2)))
    for (x1, y1, x2, y2), kind in zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True):
        middle = frame[round((y1 + y2) / 2), round((x1 + x2) / 2)].astype(float)
        assert (middle.mean() < plate - 20) if kind == PIT else (middle[0] > plate + 30)
