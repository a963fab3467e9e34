"""Rules of the dataset's copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sightloop.dataset.copying import copy_dataset, read_copy, read_info
from sightloop.dataset.fingerprint import dataset_version, item_digests
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError
from sightloop.testing.yolo_folder import write_yolo_folder


def _folder(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_copy_has_the_same_content_under_the_usual_folders(tmp_path: Path) -> None:
    dataset = read_yolo(write_yolo_folder(tmp_path / "set", images={"train": 2, "val": 1}))
    copy = copy_dataset(dataset, _folder(tmp_path, "copy"), source="there")
    assert [item.name for item in copy.items] == [item.name for item in dataset.items]
    assert [item_digests(item) for item in copy.items] == [
        item_digests(item) for item in dataset.items
    ]
    info = read_info(tmp_path / "copy")
    assert info.version == dataset_version(copy)
    assert info.counts == {"train": 2, "val": 1, "test": 0}


def test_copy_is_no_link(tmp_path: Path) -> None:
    dataset = read_yolo(write_yolo_folder(tmp_path / "set", images={"train": 1}))
    copy = copy_dataset(dataset, _folder(tmp_path, "copy"), source="there")
    for item in copy.items:
        for path in (item.image, item.label):
            assert path is not None
            assert path.stat().st_nlink == 1
            assert not path.is_symlink()


def test_version_of_the_copy_does_not_depend_on_the_place(tmp_path: Path) -> None:
    dataset = read_yolo(write_yolo_folder(tmp_path / "set", images={"train": 2}))
    copy_dataset(dataset, _folder(tmp_path, "copy"), source="there")
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    assert dataset_version(read_yolo(tmp_path / "moved/data.yaml")) == (
        read_info(tmp_path / "moved").version
    )


def test_images_of_one_name_keep_their_own_labels(tmp_path: Path) -> None:
    for part, label in (("images", "0 0.5 0.5 0.1 0.1\n"), ("train", "1 0.5 0.5 0.2 0.2\n")):
        write_yolo_folder(tmp_path / part, images={"train": 1}, seed=len(part))
        for kind in ("images", "labels"):
            shutil.move(tmp_path / part / kind / "train", tmp_path / "set" / part / kind)
        (tmp_path / "set" / part / "labels/train-0.txt").write_text(label)
    data = tmp_path / "set/data.yaml"
    named = {"train": ["images/images", "train/images"], "names": ["pit", "spot"]}
    data.write_text(yaml.safe_dump(named))
    dataset = read_yolo(data)
    copy = copy_dataset(dataset, _folder(tmp_path, "copy"), source="there")
    assert len(copy.items) == 2
    assert {item_digests(item) for item in copy.items} == {
        item_digests(item) for item in dataset.items
    }


def test_copy_knows_the_names_of_the_original(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 1})
    shutil.move(tmp_path / "set/images/train", tmp_path / "set/pictures")
    shutil.copy(tmp_path / "set/labels/train/train-0.txt", tmp_path / "set/pictures/train-0.txt")
    data.write_text(yaml.safe_dump({"train": "pictures", "names": ["pit", "spot"]}))
    copy_dataset(read_yolo(data), _folder(tmp_path, "copy"), source="there")
    again = read_copy(tmp_path / "copy")
    assert [item.name for item in again.items] == ["pictures/train-0.png"]
    assert again.items[0].image == tmp_path / "copy/images/train/pictures/train-0.png"


def test_folder_that_is_no_copy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read_info(tmp_path)
    assert caught.value.reason == "dataset_info_invalid"
