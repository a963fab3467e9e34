"""Rules of the step check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.errors import DatasetError
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.yolo_folder import write_yolo_folder


def test_check_of_a_sound_dataset_writes_its_report(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    report = call_dataset_step(tmp_path, "check", {"dataset": ingest(tmp_path, data)}, "report")
    value = json.loads((report / "check.json").read_bytes())
    assert value["passed"] is True
    assert value["source"] == str(data)


def test_check_names_the_first_faults_their_counts_and_the_report(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 12, "val": 2})
    for index in range(8):
        label = tmp_path / f"set/labels/train/train-{index}.txt"
        label.write_text(f"{label.read_text()}7 0.5 0.5 0.1 0.1\n")
    (tmp_path / "set/images/val/val-0.png").write_bytes(b"no image")
    dataset = ingest(tmp_path, data)
    with pytest.raises(DatasetError) as caught:
        call_dataset_step(tmp_path, "check", {"dataset": dataset}, "report")
    message = caught.value.message
    report = tmp_path / "ws/runs/run-1/check.json"
    assert caught.value.reason == "dataset_faulty"
    assert "9 fault(s) (1 image_unreadable, 8 label_class_unknown)" in message
    assert "images/train/train-0.png (train-0.txt, line 2): expected a class from 0 to 1" in message
    assert "images/val/val-0.png" in message
    assert "and 4 more" in message
    assert str(report) in message
    assert len(json.loads(report.read_bytes())["findings"]) == 9
    assert not (tmp_path / "check-report").exists()


def test_check_with_one_kind_of_fault_has_it_as_reason(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    (tmp_path / "set/labels/train/train-0.txt").unlink()
    (tmp_path / "set/labels/train/train-1.txt").write_text("0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DatasetError) as caught:
        call_dataset_step(tmp_path, "check", {"dataset": ingest(tmp_path, data)}, "report")
    assert caught.value.reason == "label_missing"
