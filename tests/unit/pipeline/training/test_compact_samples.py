from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.dataset.yolo import read_yolo
from sightloop.pipeline.training.compact_samples import Sample, Samples, flip, place, recolour
from sightloop.pipeline.training.trainer import Recipe
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.vision.detections import Labels

SIDE_PX = 96


def _square(x: int, y: int, side: int, *, frame_px: int = 40) -> tuple[NDArray[np.uint8], Labels]:
    """A white square on black, and its box."""
    frame = np.zeros((frame_px, frame_px, 3), np.uint8)
    frame[y : y + side, x : x + side] = 255
    boxes = np.array([[x, y, x + side, y + side]], np.float32)
    return frame, Labels(boxes, np.array([1]))


def _box_of_white(frame: NDArray[np.uint8]) -> list[int]:
    rows, columns = np.nonzero(frame[..., 0] > 200)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def _samples(folder: Path, **changes: float) -> Samples:
    dataset = read_yolo(write_plate_dataset(folder, {"train": 6}, side_px=SIDE_PX))
    recipe = Recipe(side_px=SIDE_PX, **changes)  # type: ignore[arg-type]  # numbers of recipes
    return Samples(dataset.of("train"), recipe, class_count=2)


@pytest.mark.parametrize(("scale", "left", "top"), [(1, 0, 0), (2, 3, -7), (0.5, 10, 4), (1, 5, 9)])
def test_box_stays_on_its_object(scale: float, left: float, top: float) -> None:
    frame, labels = _square(12, 16, 8)
    placed = place(frame, labels, scale=scale, left=left, top=top, size_px=(80, 80))
    assert placed.classes.tolist() == [1]
    assert np.abs(placed.boxes[0] - _box_of_white(placed.frame)).max() <= 1.0


def test_box_is_cut_to_what_is_seen_and_dropped_when_little_is() -> None:
    frame, labels = _square(10, 10, 10)
    half = place(frame, labels, scale=1, left=-15, top=0, size_px=(40, 40))
    assert half.boxes.tolist() == [[0, 10, 5, 20]]
    gone = place(frame, labels, scale=1, left=-19, top=0, size_px=(40, 40))
    assert len(gone.boxes) == len(gone.classes) == 0


@pytest.mark.parametrize("way", ["flip_horizontal", "flip_vertical"])
def test_mirrored_box_stays_on_its_object(way: str) -> None:
    frame, labels = _square(5, 20, 8)
    sample = Sample(frame, labels.boxes, labels.classes)
    never = {"flip_horizontal": 0.0, "flip_vertical": 0.0}
    recipe = Recipe(**{**never, way: 1.0})  # type: ignore[arg-type]  # numbers of recipes
    turned = flip(sample, recipe, np.random.default_rng(0))
    assert turned.boxes[0].tolist() == _box_of_white(turned.frame)
    assert turned.boxes.tolist() != labels.boxes.tolist()


def test_colours_stay_when_nothing_is_to_vary() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    sample = Sample(frame, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    still = Recipe(hue=0.0, saturation=0.0, brightness=0.0)
    varied = recolour(sample, still, np.random.default_rng(0)).frame
    # OpenCV's hue has two degrees a step.
    assert np.abs(varied.astype(int) - frame).max() <= 6
    changed = recolour(sample, Recipe(brightness=0.9), np.random.default_rng(1)).frame
    assert np.abs(changed.astype(int) - frame).mean() > 10


def test_sample_follows_from_seed_and_number_alone(tmp_path: Path) -> None:
    one, other = _samples(tmp_path / "a"), _samples(tmp_path / "b")
    for index in (3, 1):
        other.draw(index, seed=5, mosaic=True)  # another history
    first, second = one.draw(0, seed=9, mosaic=True), other.draw(0, seed=9, mosaic=True)
    assert np.array_equal(first.frame, second.frame)
    assert np.array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.frame, one.draw(0, seed=10, mosaic=True).frame)


def test_every_sample_is_of_the_inputs_size_with_its_boxes_inside(tmp_path: Path) -> None:
    samples = _samples(tmp_path, mosaic=0.5, flip_vertical=0.5)
    found = 0
    for seed in range(20):
        sample = samples.draw(seed % len(samples), seed=seed, mosaic=True)
        assert sample.frame.shape == (SIDE_PX, SIDE_PX, 3)
        assert len(sample.boxes) == len(sample.classes)
        assert np.all(sample.boxes >= 0)
        assert np.all(sample.boxes <= SIDE_PX)
        assert np.all(sample.boxes[:, 2:] - sample.boxes[:, :2] >= 2)
        found += len(sample.boxes)
    assert found > 20


def test_image_is_left_alone_when_the_recipe_varies_nothing(tmp_path: Path) -> None:
    still = dict.fromkeys(("hue", "saturation", "brightness", "zoom", "shift"), 0.0)
    samples = _samples(tmp_path, mosaic=0.0, flip_horizontal=0.0, **still)
    one, other = (samples.draw(2, seed=seed, mosaic=True) for seed in (1, 2))
    assert np.array_equal(one.frame, other.frame)
    assert np.array_equal(one.boxes, other.boxes)
