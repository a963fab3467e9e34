"""Rules of data.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError
from sightloop.testing.yolo_folder import write_yolo_folder


def _rewrite(data: Path, **changes: object) -> None:
    value = yaml.safe_load(data.read_text()) | changes
    data.write_text(yaml.safe_dump({key: one for key, one in value.items() if one is not ...}))


def test_folders_are_read_with_labels_beside(tmp_path: Path) -> None:
    dataset = read_yolo(write_yolo_folder(tmp_path, images={"train": 3, "val": 2, "test": 1}))
    assert dataset.classes == ("pit", "spot")
    assert [len(dataset.of(split)) for split in ("train", "val", "test")] == [3, 2, 1]
    item = dataset.of("val")[0]
    assert item.name == "images/val/val-0.png"
    assert item.label == tmp_path / "labels/val/val-0.txt"


def test_absent_splits_are_no_error_but_train_is(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 1})
    assert len(read_yolo(data).items) == 1
    _rewrite(data, train=..., val="images/train")
    with pytest.raises(DatasetError) as caught:
        read_yolo(data)
    assert caught.value.reason == "data_yaml_invalid"


def test_list_of_folders_and_text_lists_are_read_each_image_once(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 2, "more": 2})
    (tmp_path / "list.txt").write_text("./images/more/more-1.png\nimages/train/train-0.png\n\n")
    _rewrite(data, train=["images/train", "list.txt"])
    names = [item.name for item in read_yolo(data).of("train")]
    assert names == [
        "images/train/train-0.png",
        "images/train/train-1.png",
        "images/more/more-1.png",
    ]


def test_names_may_be_indexed(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 1})
    _rewrite(data, names={1: "b", 0: "a", 2: "c"})
    assert read_yolo(data).classes == ("a", "b", "c")


def test_images_outside_the_root_have_names_without_its_place(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "here", images={"train": 1})
    write_yolo_folder(tmp_path / "there", images={"train": 1}, seed=5)
    _rewrite(data, val="../there/images/train")
    assert [item.name for item in read_yolo(data).of("val")] == ["val-0/train-0.png"]


def test_image_formats_that_cannot_be_decoded_are_listed_for_the_check(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 1})
    (tmp_path / "images/train/x.TIFF").write_bytes(b"II*\0")
    (tmp_path / "images/train/notes.md").write_text("no image")
    (tmp_path / "images/train/._train-0.png").write_text("no image")
    assert [item.image.name for item in read_yolo(data).items] == ["train-0.png", "x.TIFF"]


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 1})
    write_yolo_folder(tmp_path / "other", images={"more": 1}, seed=3)
    (tmp_path / "set/images/train/linked").symlink_to(tmp_path / "other/images/more")
    (tmp_path / "set/images/train/loop").symlink_to(tmp_path / "set/images/train")
    assert [item.image.name for item in read_yolo(data).items] == ["train-0.png", "more-0.png"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"val": "images/nowhere"}, "folder_missing"),
        ({"path": "nowhere"}, "folder_missing"),
        ({"val": "empty"}, "split_empty"),
        ({"names": ...}, "classes_missing"),
        ({"names": []}, "classes_missing"),
        ({"names": {0: "a", 2: "b"}}, "data_yaml_invalid"),
        ({"names": ["a", "a"]}, "data_yaml_invalid"),
        ({"names": "a"}, "data_yaml_invalid"),
        ({"nc": 3}, "data_yaml_invalid"),
        ({"train": 7}, "data_yaml_invalid"),
        ({"path": ["."]}, "data_yaml_invalid"),
        ({"val": "gone.txt"}, "folder_missing"),
        ({"val": "list.txt"}, "image_missing"),
    ],
)
def test_fault_in_data_yaml_has_a_reason(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    data = write_yolo_folder(tmp_path, images={"train": 1})
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("images/train/gone.png\n")
    _rewrite(data, **changes)
    with pytest.raises(DatasetError, match=r"expected .*found|expected|a class stands") as caught:
        read_yolo(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "", "\x00"])
def test_text_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_yolo(tmp_path / "data.yaml")
    assert caught.value.reason == "data_yaml_invalid"


def test_missing_data_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.yaml"):
        read_yolo(tmp_path / "none.yaml")
