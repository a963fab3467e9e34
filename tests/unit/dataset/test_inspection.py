"""Rules of reading one image with its label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sightloop._support.files import sha256_file
from sightloop.dataset.inspection import inspect_item
from sightloop.dataset.version import Item
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import SIDE_PX, write_yolo_folder


@pytest.fixture
def item(tmp_path: Path) -> Item:
    return read_yolo(write_yolo_folder(tmp_path, images={"train": 1})).items[0]


def test_sound_image_is_read_whole(item: Item) -> None:
    seen = inspect_item(item, class_count=2)
    assert seen.sha256 == sha256_file(item.image)
    assert (seen.image_fault, seen.size_px, seen.label_faults) == (None, (SIDE_PX, SIDE_PX), ())
    assert seen.boxes.tolist() == [[0.375, 0.375, 0.625, 0.625]]
    assert seen.boxes_per_class == {0: 1}
    assert seen.look is not None


def test_fault_is_a_value_with_the_digest_where_there_are_bytes(item: Item) -> None:
    item.image.write_bytes(b"no image")
    broken = inspect_item(item, class_count=2)
    assert broken.image_fault
    assert (broken.size_px, broken.look) == (None, None)
    assert broken.sha256 == sha256_file(item.image)
    item.image.unlink()
    assert inspect_item(item, class_count=2).sha256 == ""


def test_labels_given_as_text_count_before_the_file(item: Item) -> None:
    seen = inspect_item(replace(item, label_text="1 0.5 0.5 1 1\n"), class_count=2)
    assert seen.boxes_per_class == {1: 1}


def test_repeated_box_is_counted(item: Item) -> None:
    seen = inspect_item(replace(item, label_text="1 0.5 0.5 1 1\n" * 3), class_count=2)
    assert seen.duplicate_boxes == 2
