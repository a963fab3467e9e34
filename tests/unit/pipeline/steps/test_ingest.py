"""Rules of the step ingest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.dataset.copying import read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError
from sightloop.pipeline.cache import tree_digest
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.yolo_folder import SIDE_PX, write_yolo_folder


def test_ingest_writes_nothing_into_the_users_folder(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 3, "val": 1})
    before = tree_digest(data.parent)
    folder = ingest(tmp_path, data)
    assert tree_digest(data.parent) == before
    assert read_info(folder).source == str(data)
    assert {path.name for path in folder.iterdir()} == {
        "images", "labels", "data.yaml", "dataset.json",
    }  # fmt: skip


def test_coco_dataset_becomes_a_yolo_one_whose_sizes_are_checked(tmp_path: Path) -> None:
    write_yolo_folder(tmp_path / "set", images={"train": 2}).unlink()
    images = [
        {"id": n, "file_name": f"train-{n}.png", "width": SIDE_PX * (n + 1), "height": SIDE_PX}
        for n in range(2)
    ]
    boxes = [{"image_id": n, "category_id": 1, "bbox": [4, 4, 8, 8]} for n in range(2)]
    value = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "pit"}]}
    (tmp_path / "set/train.json").write_text(json.dumps(value))
    folder = ingest(tmp_path, tmp_path / "set")
    dataset = read_yolo(folder / "data.yaml")
    assert dataset.classes == ("pit",)
    label = dataset.items[0].label
    assert label is not None
    assert label.read_text() == "0 0.25 0.25 0.25 0.25\n"
    with pytest.raises(DatasetError, match=r"train-1\.png: expected the size .*64 x 32") as caught:
        call_dataset_step(tmp_path, "check", {"dataset": folder}, "report")
    assert caught.value.reason == "image_size_differs"
