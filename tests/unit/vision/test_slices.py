from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sightloop.vision.decode import decode_image
from sightloop.vision.slices import FrameFacts, Slice, input_scale, light_of, make_slices, mean_luma

COCO = Path(__file__).resolve().parents[4] / "shared" / "data" / "coco-mini"
BOXES = np.array([[0, 0, 31, 31], [0, 0, 32, 32], [0, 0, 95, 96], [0, 0, 96, 96]], np.float32)
CLASSES = np.array([0, 1, 0, 1], np.int64)


def _facts(*lumas: float, value: str | None = None) -> list[FrameFacts]:
    return [FrameFacts(640, 480, luma, value) for luma in lumas]


def _named(slices: tuple[Slice, ...], name: str) -> Slice:
    return next(one for one in slices if one.name == name)


@pytest.mark.parametrize(
    ("luma", "light"),
    [(74.9, "dark"), (75.0, "normal"), (160.0, "normal"), (160.1, "bright")],
)
def test_bounds_of_light(luma: float, light: str) -> None:
    assert light_of(luma) == light


def test_luma_weighs_green_most_and_blue_least() -> None:
    def of(*colour: int) -> float:
        return mean_luma(np.full((4, 4, 3), colour, np.uint8))

    assert (of(255, 0, 0), of(0, 255, 0), of(0, 0, 255)) == (76.0, 150.0, 29.0)


def test_light_of_real_images_is_that_of_the_table_beside_them() -> None:
    if not COCO.is_dir():
        pytest.skip(f"no real images at {COCO}")
    with (COCO / "slices.csv").open() as file:
        rows = list(csv.DictReader(file))[::12]
    for row in rows:
        data = (COCO / "images" / row["split"] / row["file"]).read_bytes()
        luma = mean_luma(decode_image(data))
        assert luma == pytest.approx(float(row["mean_luma"]), abs=0.2)
        assert light_of(luma) == row["slice"]


def test_slices_name_condition_and_value_and_all_comes_first() -> None:
    slices = make_slices(_facts(20.0, 200.0), classes=("pit", "spot"))
    assert [one.name for one in slices] == [
        "all",
        "light=dark",
        "light=bright",
        "class=pit",
        "class=spot",
        "size=small",
        "size=medium",
        "size=large",
    ]


def test_light_takes_the_boxes_of_its_frames_alone() -> None:
    dark = _named(make_slices(_facts(20.0, 200.0), classes=("pit",)), "light=dark")
    assert dark.holds(0, BOXES, CLASSES, scale=1.0).all()
    assert not dark.holds(1, BOXES, CLASSES, scale=1.0).any()


def test_class_takes_its_own_boxes() -> None:
    spot = _named(make_slices(_facts(100.0), classes=("pit", "spot")), "class=spot")
    assert spot.holds(0, BOXES, CLASSES, scale=1.0).tolist() == [False, True, False, True]


def test_sizes_are_those_of_coco_and_every_box_has_one() -> None:
    slices = make_slices(_facts(100.0), classes=("pit",))
    held = [
        _named(slices, f"size={name}").holds(0, BOXES, CLASSES, scale=1.0).tolist()
        for name in ("small", "medium", "large")
    ]
    assert held == [
        [True, False, False, False],
        [False, True, True, False],
        [False, False, False, True],
    ]


def test_size_is_that_in_the_networks_input() -> None:
    wide = FrameFacts(1280, 320, 100.0)
    scale = input_scale(wide, side_px=320)
    assert scale == 0.25
    small = _named(make_slices([wide], classes=("pit",)), "size=small")
    assert small.holds(0, BOXES * 1.3, CLASSES, scale=scale).tolist() == [True, True, True, True]


def test_users_column_takes_the_frames_of_each_value() -> None:
    facts = [*_facts(100.0, value="left"), *_facts(100.0), *_facts(100.0, value="right")]
    slices = make_slices(facts, classes=("pit",), column="camera")
    assert _named(slices, "camera=left").frames == (True, False, False)
    assert _named(slices, "camera=right").frames == (False, False, True)
    assert not [one.name for one in make_slices(facts, classes=("pit",)) if "camera" in one.name]


def test_no_boxes_are_no_trouble() -> None:
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    for one in make_slices(_facts(100.0), classes=("pit",)):
        assert one.holds(0, *empty, scale=1.0).shape == (0,)
