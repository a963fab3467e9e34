"""Rules of the COCO reader."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightloop.dataset.coco import read_coco
from sightloop.dataset.copying import copy_dataset, read_copy
from sightloop.dataset.fingerprint import dataset_version
from sightloop.dataset.labels import parse_item_labels
from sightloop.dataset.version import Split
from sightloop.errors import DatasetError
from sightloop.testing.yolo_folder import SIDE_PX, write_image


def content(split: str, count: int = 2) -> dict[str, Any]:
    """Categories 3 (pit) and 8 (spot); image i has one box of class i modulo 2."""
    return {
        "images": [
            {"id": 10 + i, "file_name": f"{split}-{i}.png", "width": SIDE_PX, "height": SIDE_PX}
            for i in range(count)
        ],
        "categories": [{"id": 8, "name": "spot"}, {"id": 3, "name": "pit"}],
        "annotations": [
            {"id": i, "image_id": 10 + i, "category_id": (3, 8)[i % 2], "bbox": [8, 4, 16, 8]}
            for i in range(count)
        ],
    }


def write_images(folder: Path, split: str, count: int = 2) -> None:
    random = np.random.default_rng(len(split))
    for i in range(count):
        pixels = random.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        write_image(folder / f"{split}-{i}.png", pixels)


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def reason_of(path: Path) -> str:
    with pytest.raises(DatasetError, match=r"expected .*found|stands twice") as caught:
        read_coco(path)
    return caught.value.reason


def test_one_file_is_train_with_classes_in_the_order_of_their_ids(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a")
    dataset = read_coco(write(tmp_path / "labels.json", content("a")))
    assert dataset.classes == ("pit", "spot")
    assert [(item.name, item.split) for item in dataset.items] == [
        ("images/a-0.png", "train"),
        ("images/a-1.png", "train"),
    ]
    parsed = parse_item_labels(dataset.items[1], class_count=2)
    assert parsed.classes.tolist() == [1]
    assert parsed.boxes.tolist() == [pytest.approx([0.25, 0.125, 0.75, 0.375])]


@pytest.mark.parametrize(
    ("files", "images"),
    [
        (
            {"train": "annotations/instances_train2017.json",
             "val": "annotations/instances_val2017.json"},
            {"train": "train2017", "val": "val2017"},
        ),
        ({"train": "annotations/train.json", "val": "annotations/val.json"},
         {"train": "images", "val": "images"}),
        ({"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json"},
         {"train": "train", "val": "valid"}),
        ({"train": "train.json", "val": "val.json"},
         {"train": "images/train", "val": "images/val"}),
    ],
)  # fmt: skip
def test_folders_as_tools_export_them_are_read(
    tmp_path: Path, files: dict[Split, str], images: dict[Split, str]
) -> None:
    for split, name in files.items():
        write(tmp_path / name, content(split))
        write_images(tmp_path / images[split], split)
    write(tmp_path / "annotations/captions_train2017.json", {})
    if "instances" not in files["train"]:
        (tmp_path / "annotations/captions_train2017.json").unlink()
    dataset = read_coco(tmp_path)
    assert [len(dataset.of(split)) for split in ("train", "val", "test")] == [2, 2, 0]


def test_copy_is_a_yolo_dataset_of_the_same_labels_and_sizes(tmp_path: Path) -> None:
    write_images(tmp_path / "set", "a")
    dataset = read_coco(write(tmp_path / "set/labels.json", content("a")))
    (tmp_path / "copy").mkdir()
    copy = copy_dataset(dataset, tmp_path / "copy", source="here")
    again = read_copy(tmp_path / "copy")
    assert [item.stated_px for item in again.items] == [(SIDE_PX, SIDE_PX)] * 2
    assert (tmp_path / "copy/labels/train/a-1.txt").read_text() == "1 0.5 0.25 0.5 0.25\n"
    assert dataset_version(copy) != dataset_version(dataset)
    assert [item.name for item in again.items] == [item.name for item in dataset.items]


def test_changed_annotation_is_another_version(tmp_path: Path) -> None:
    write_images(tmp_path, "a")
    value = content("a")
    before = dataset_version(read_coco(write(tmp_path / "labels.json", value)))
    assert dataset_version(read_coco(tmp_path / "labels.json")) == before
    value["annotations"][0]["bbox"][0] += 1
    assert dataset_version(read_coco(write(tmp_path / "labels.json", value))) != before


def test_image_without_annotations_has_an_empty_label_and_crowds_are_left_out(
    tmp_path: Path,
) -> None:
    write_images(tmp_path, "a")
    value = content("a")
    value["annotations"][0]["iscrowd"] = 1
    dataset = read_coco(write(tmp_path / "labels.json", value))
    assert [item.label_text for item in dataset.items] == ["", "1 0.5 0.25 0.5 0.25\n"]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ([30, 4, 16, 8], "label_outside"),
        ([8, 4, 0, 8], "label_malformed"),
        ([8, 4, -3, 8], "label_malformed"),
        ([8, 4, float("nan"), 8], "label_malformed"),
    ],
)
def test_faulty_box_reaches_the_check(tmp_path: Path, box: list[float], kind: str) -> None:
    write_images(tmp_path, "a")
    value = content("a")
    value["annotations"][0]["bbox"] = box
    item = read_coco(write(tmp_path / "labels.json", value)).items[0]
    assert [fault.kind for fault in parse_item_labels(item, class_count=2).faults] == [kind]


def change(value: dict[str, Any], key: str, **fields: object) -> dict[str, Any]:
    value[key][0] |= fields
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "coco_invalid"),
        (content("a") | {"images": None}, "coco_invalid"),
        (content("a") | {"annotations": [3]}, "coco_invalid"),
        (content("a") | {"categories": []}, "classes_missing"),
        (content("a") | {"images": []}, "split_empty"),
        (change(content("a"), "categories", id=3), "coco_invalid"),
        (change(content("a"), "categories", name="pit"), "coco_invalid"),
        (change(content("a"), "categories", name=None), "coco_invalid"),
        (change(content("a"), "categories", id="x"), "coco_invalid"),
        (change(content("a"), "images", id=11), "coco_invalid"),
        (change(content("a"), "images", file_name="../a-0.png"), "coco_invalid"),
        (change(content("a"), "images", file_name="/etc/passwd"), "coco_invalid"),
        (change(content("a"), "images", file_name="gone.png"), "image_missing"),
        (change(content("a"), "images", width=0), "coco_invalid"),
        (change(content("a"), "images", height="4"), "coco_invalid"),
        (change(content("a"), "annotations", image_id=99), "coco_invalid"),
        (change(content("a"), "annotations", category_id=4), "coco_invalid"),
        (change(content("a"), "annotations", bbox=[1, 2, 3]), "coco_invalid"),
        (change(content("a"), "annotations", bbox=["1", 2, 3, 4]), "coco_invalid"),
    ],
)
def test_fault_in_the_file_has_a_reason(tmp_path: Path, value: object, reason: str) -> None:
    write_images(tmp_path, "a")
    assert reason_of(write(tmp_path / "labels.json", value)) == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(["images", "categories", "annotations"]),
    field=st.sampled_from(
        ["id", "file_name", "width", "height", "name", "image_id", "category_id", "bbox", "iscrowd"]
    ),
    value=JSON | st.integers(10**20, 10**400),
)
def test_whatever_stands_in_the_file_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, field: str, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.is_dir():
        write_images(folder, "a")
    changed = write(folder / "labels.json", change(content("a"), key, **{field: value}))
    with contextlib.suppress(DatasetError):
        items = read_coco(changed).items
        assert [parse_item_labels(item, class_count=2) for item in items]


def test_files_that_are_no_json_or_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff{")
    assert reason_of(tmp_path / "a.json") == "coco_invalid"
    assert reason_of(tmp_path / "gone.json") == "coco_invalid"


def test_folder_without_annotations_or_with_two_of_a_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert reason_of(tmp_path / "empty") == "coco_layout"
    for name in ("a-train.json", "b-train.json"):
        write(tmp_path / "two" / name, content("a"))
    assert reason_of(tmp_path / "two") == "coco_layout"
    write_images(tmp_path / "val", "val")
    assert reason_of(write(tmp_path / "val/val.json", content("val"))) == "coco_layout"


def test_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_images(tmp_path, split)
    write(tmp_path / "train.json", content("train"))
    write(tmp_path / "val.json", change(content("val"), "categories", name="dent"))
    assert reason_of(tmp_path) == "coco_invalid"
