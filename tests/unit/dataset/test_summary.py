"""Rules of counts and their comparison with the parent's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightloop.dataset.checks import check_dataset
from sightloop.dataset.summary import (
    CountChange,
    DatasetSummary,
    compare,
    summarize_dataset,
)
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import SIDE_PX, write_image, write_yolo_folder


def test_counts_are_those_of_all_splits(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 3, "val": 2})
    for name, grey in (("train/train-0", 30), ("val/val-0", 220)):
        picture = np.full((SIDE_PX, SIDE_PX, 3), grey, np.uint8)
        write_image(tmp_path / f"images/{name}.png", picture)
    report = check_dataset(read_yolo(data))
    expected = DatasetSummary(
        images=5, boxes={"pit": 3, "spot": 2}, slices={"dark": 1, "normal": 3, "bright": 1}
    )
    assert report.summary == expected
    assert summarize_dataset(read_yolo(data), {}) == expected


def test_known_images_are_not_decoded_again(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 2})
    report = check_dataset(read_yolo(data))
    lying = {digest: next(iter(report.looks.values())) for digest in report.looks}
    dark = {digest: type(look)(look.bits, look.picture, 1.0) for digest, look in lying.items()}
    assert summarize_dataset(read_yolo(data), dark).slices["dark"] == 2


def test_comparison_has_every_count_of_both_also_of_classes_that_came_and_went() -> None:
    slices = {"dark": 0, "normal": 2, "bright": 0}
    parent = DatasetSummary(2, {"pit": 5, "gone": 1}, slices)
    here = DatasetSummary(3, {"pit": 4, "new": 2}, slices | {"dark": 1})
    assert compare(here, parent) == [
        CountChange("images", 2, 3),
        CountChange("class pit", 5, 4),
        CountChange("class new", None, 2),
        CountChange("class gone", 1, None),
        CountChange("slice dark", 0, 1),
        CountChange("slice normal", 2, 2),
        CountChange("slice bright", 0, 0),
    ]
