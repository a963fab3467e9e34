"""Rules of the dataset's version."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sightloop.dataset.fingerprint import dataset_version
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import write_yolo_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_yolo_folder(tmp_path / "set", images={"train": 3, "val": 1})


def test_place_time_and_order_do_not_count(data: Path, tmp_path: Path) -> None:
    dataset = read_yolo(data)
    version = dataset_version(dataset)
    copy = shutil.copytree(data.parent, tmp_path / "elsewhere" / "deep")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    assert dataset_version(read_yolo(copy / "data.yaml")) == version
    assert dataset_version(replace(dataset, items=dataset.items[::-1])) == version


def _change_pixel(folder: Path) -> None:
    image = folder / "images/train/train-0.png"
    image.write_bytes(image.read_bytes() + b"\0")


def _change_label(folder: Path) -> None:
    (folder / "labels/train/train-0.txt").write_text("1 0.5 0.5 0.25 0.25\n")


def _empty_label(folder: Path) -> None:
    (folder / "labels/train/train-0.txt").write_text("")


def _drop_label(folder: Path) -> None:
    (folder / "labels/train/train-0.txt").unlink()


def _rename_image(folder: Path) -> None:
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        path = folder / kind / "train" / f"train-0.{suffix}"
        path.rename(path.with_stem("renamed"))


def _move_split(folder: Path) -> None:
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        name = f"train-0.{suffix}"
        (folder / kind / "train" / name).rename(folder / kind / "val" / name)


def _rename_class(folder: Path) -> None:
    data = folder / "data.yaml"
    data.write_text(data.read_text().replace("pit", "hole"))


@pytest.mark.parametrize(
    "change",
    [
        _change_pixel,
        _change_label,
        _empty_label,
        _drop_label,
        _rename_image,
        _move_split,
        _rename_class,
    ],
)
def test_any_change_of_content_is_another_version(
    data: Path, change: Callable[[Path], None]
) -> None:
    before = dataset_version(read_yolo(data))
    change(data.parent)
    assert dataset_version(read_yolo(data)) != before


def test_empty_label_differs_from_no_label(data: Path) -> None:
    _empty_label(data.parent)
    empty = dataset_version(read_yolo(data))
    _drop_label(data.parent)
    assert dataset_version(read_yolo(data)) != empty
