"""Rules of the dataset check."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from sightloop.dataset.checks import CheckReport, CheckRules, check_dataset
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import write_yolo_folder

_SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def _kinds(report: CheckReport) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.fatal) for finding in report.findings]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_yolo_folder(tmp_path, images={"train": 4, "val": 2, "test": 2})


def test_sound_dataset_has_no_findings_and_true_counts(data: Path) -> None:
    report = check_dataset(read_yolo(data))
    assert report.findings == ()
    assert report.counts["images"] == {"train": 4, "val": 2, "test": 2}
    assert report.counts["boxes_train"] == {"pit": 2, "spot": 2}


@pytest.mark.parametrize(
    ("bytes_", "word"),
    [(b"", "none"), (b"no image at all", "found"), (None, "trunc")],
)
def test_image_that_does_not_decode_is_fatal(data: Path, bytes_: bytes | None, word: str) -> None:
    image = data.parent / "images/train/train-1.png"
    image.write_bytes(image.read_bytes()[:-60] if bytes_ is None else bytes_)
    report = check_dataset(read_yolo(data))
    assert _kinds(report) == [("image_unreadable", True)]
    assert "images/train/train-1.png" in report.findings[0].message


def test_missing_label_is_fatal_and_says_what_an_empty_image_needs(data: Path) -> None:
    (data.parent / "labels/val/val-0.txt").unlink()
    report = check_dataset(read_yolo(data))
    assert ("label_missing", True) in _kinds(report)
    assert "an image without objects has an empty one" in report.fatal[0].message


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5", "label_malformed"),
        ("9 0.5 0.5 0.1 0.1", "label_class_unknown"),
        ("0 0.99 0.5 0.2 0.1", "label_outside"),
    ],
)
def test_faulty_label_is_fatal_with_file_and_line(data: Path, line: str, kind: str) -> None:
    with open(data.parent / "labels/test/test-1.txt", "a") as stream:
        stream.write(line + "\n")
    report = check_dataset(read_yolo(data))
    assert _kinds(report) == [(kind, True)]
    assert "images/test/test-1.png (test-1.txt, line 2)" in report.findings[0].message


def test_equal_images_in_two_splits_are_fatal_in_one_a_warning(data: Path) -> None:
    folder = data.parent
    for split in ("train", "val"):
        shutil.copy(folder / "images/train/train-0.png", folder / f"images/{split}/copy.png")
        shutil.copy(folder / "labels/train/train-0.txt", folder / f"labels/{split}/copy.txt")
        report = check_dataset(read_yolo(data))
        expected = ("duplicate_in_split", False) if split == "train" else None
        assert _kinds(report) == [expected or ("duplicate_across_splits", True)]
    assert "copy.png (val)" in report.findings[0].message


def test_class_without_boxes_is_fatal_in_train_and_a_warning_elsewhere(data: Path) -> None:
    folder = data.parent
    for split in ("train", "test"):
        for label in (folder / "labels" / split).iterdir():
            label.write_text("0 0.5 0.5 0.25 0.25\n")
    report = check_dataset(read_yolo(data))
    assert _kinds(report) == [("class_empty", True), ("class_empty", False)]
    assert "class 1 (spot): expected boxes in train" in report.findings[0].message
    allowed = check_dataset(read_yolo(data), rules=CheckRules(allow_empty_classes=True))
    assert _kinds(allowed) == [("class_empty", False), ("class_empty", False)]


def test_repeated_box_is_a_warning(data: Path) -> None:
    label = data.parent / "labels/train/train-0.txt"
    label.write_text(label.read_text() * 2)
    assert _kinds(check_dataset(read_yolo(data))) == [("duplicate_boxes", False)]


def test_report_lists_every_fault_not_the_first(data: Path) -> None:
    (data.parent / "labels/train/train-0.txt").write_text("0 1\n5 0.5 0.5 0.1 0.1\n0 2 2 1 1\n")
    (data.parent / "images/train/train-1.png").write_bytes(b"x")
    report = check_dataset(read_yolo(data))
    assert len(report.fatal) == 4
    assert report.counts["findings"] == Counter(finding.kind for finding in report.findings)


@pytest.mark.parametrize("name", ["neu-det", "coco-mini"])
def test_real_dataset_passes(name: str) -> None:
    data = _SHARED / name / "data.yaml"
    if not data.is_file():
        pytest.skip(f"the dataset {name} is not beside the repository, in ../shared/data")
    report = check_dataset(
        read_yolo(data), rules=CheckRules(allow_empty_classes=name == "coco-mini")
    )
    assert report.fatal == ()
