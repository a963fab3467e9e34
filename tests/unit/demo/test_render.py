from __future__ import annotations

import numpy as np
import pytest

from sightloop.demo.render import BOX_MIN_PX, CLASSES, SIDE_PX, Light, ScratchKind, render_image
from sightloop.vision.slices import light_of, mean_luma

SCRATCH = CLASSES.index("scratch")
SEEDS = range(40)


def test_a_seed_gives_the_same_pixels_and_another_seed_others() -> None:
    one = render_image(3, scratch_kind=ScratchKind.DARK)
    again = render_image(3, scratch_kind=ScratchKind.DARK)
    other = render_image(4, scratch_kind=ScratchKind.DARK)
    assert np.array_equal(one.frame, again.frame)
    assert np.array_equal(one.labels.boxes, again.labels.boxes)
    assert not np.array_equal(one.frame, other.frame)


@pytest.mark.parametrize("kind", list(ScratchKind))
def test_boxes_are_large_enough_to_be_found_and_inside(kind: ScratchKind) -> None:
    for seed in SEEDS:
        image = render_image(seed, scratch_kind=kind)
        boxes = image.labels.boxes
        assert image.frame.shape == (SIDE_PX, SIDE_PX, 3)
        assert image.frame.dtype == np.uint8
        if len(boxes):
            assert float((boxes[:, 2:] - boxes[:, :2]).min()) >= BOX_MIN_PX - 0.01
            assert float(boxes.min()) >= 0.0
            assert float(boxes.max()) <= SIDE_PX


def test_every_class_turns_up() -> None:
    seen = {
        index
        for seed in SEEDS
        for index in render_image(seed, scratch_kind=ScratchKind.DARK).labels.classes.tolist()
    }
    assert seen == set(range(len(CLASSES)))


def test_a_plate_of_the_new_kind_always_holds_a_scratch() -> None:
    for seed in SEEDS:
        image = render_image(seed, scratch_kind=ScratchKind.HAIR)
        assert SCRATCH in image.labels.classes


@pytest.mark.parametrize(("kind", "sign"), [(ScratchKind.DARK, -1), (ScratchKind.HAIR, 1)])
def test_the_two_kinds_look_different(kind: ScratchKind, sign: int) -> None:
    """The old scratch is the darkest thing in its box, the new one the brightest."""
    for seed in SEEDS:
        image = render_image(seed, scratch_kind=kind)
        grey = image.frame.mean(axis=2)
        for box, index in zip(image.labels.boxes, image.labels.classes, strict=True):
            if index == SCRATCH:
                x1, y1, x2, y2 = (round(float(value)) for value in box)
                inside = grey[y1:y2, x1:x2]
                most = float(inside.min() if sign < 0 else inside.max())
                assert sign * (most - float(np.median(grey))) > 30


def test_a_scratch_fills_its_box_from_edge_to_edge() -> None:
    """Boxes fit: what is drawn reaches all four sides and nothing of it lies outside."""
    for seed in SEEDS:
        image = render_image(seed, scratch_kind=ScratchKind.HAIR)
        bright = image.frame.mean(axis=2) > np.median(image.frame) + 35
        for box, index in zip(image.labels.boxes, image.labels.classes, strict=True):
            x1, y1, x2, y2 = (float(value) for value in box)
            if index != SCRATCH or min(x2 - x1, y2 - y1) < BOX_MIN_PX + 1:
                continue
            rows, columns = np.nonzero(bright[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1])
            assert columns.min() <= 3
            assert rows.min() <= 3
            assert columns.max() >= x2 - x1 - 4
            assert rows.max() >= y2 - y1 - 4


@pytest.mark.parametrize("light", [Light.DUSK, Light.NIGHT])
def test_with_less_light_the_same_plate_is_dark(light: Light) -> None:
    for seed in range(5):
        day = render_image(seed, scratch_kind=ScratchKind.DARK)
        night = render_image(seed, scratch_kind=ScratchKind.DARK, light=light)
        assert np.array_equal(day.labels.boxes, night.labels.boxes)
        assert light_of(mean_luma(night.frame)) == "dark"
        assert light_of(mean_luma(day.frame)) != "dark"
