"""Rules of the entrance to the dataset layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.dataset.reading import read_dataset
from sightloop.errors import DatasetError
from sightloop.testing.yolo_folder import SIDE_PX, write_yolo_folder


def test_data_yaml_and_its_folder_are_one_yolo_dataset(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 2})
    (tmp_path / "notes.json").write_text("{}")
    assert read_dataset(data) == read_dataset(tmp_path)


def test_json_file_and_its_folder_are_one_coco_dataset(tmp_path: Path) -> None:
    write_yolo_folder(tmp_path, images={"train": 1}).unlink()
    image = {"id": 1, "file_name": "train-0.png", "width": SIDE_PX, "height": SIDE_PX}
    value = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "pit"}]}
    (tmp_path / "train.json").write_text(json.dumps(value))
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("pit",)
    assert dataset == read_dataset(tmp_path / "train.json")


def test_nothing_that_is_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="gone"):
        read_dataset(tmp_path / "gone")
