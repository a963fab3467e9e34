"""Rules of the step split."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop._support.files import sha256_file
from sightloop.dataset.copying import read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError, StepFailedError
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.plates import render_plate
from sightloop.testing.yolo_folder import write_yolo_folder
from sightloop.vision.decode import encode_jpeg


def test_split_makes_absent_splits_and_loses_no_image(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 20, "val": 4})
    ingested = ingest(tmp_path, data)
    report = call_dataset_step(tmp_path, "check", {"dataset": ingested}, "report")
    folder = call_dataset_step(
        tmp_path,
        "split",
        {"dataset": ingested, "report": report},
        "dataset",
        parameters={"test_fraction": 0.3, "seed": 3},
    )
    before, after = read_yolo(ingested / "data.yaml"), read_yolo(folder / "data.yaml")
    digests = [sorted(sha256_file(item.image) for item in one.items) for one in (before, after)]
    assert digests[0] == digests[1]
    assert len(after.of("val")) == 4
    assert len(after.of("test")) > 0
    assert read_info(folder).counts == {
        split: len(after.of(split)) for split in ("train", "val", "test")
    }
    assert read_info(folder).version != read_info(ingested).version


def test_split_that_stays_empty_is_refused(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    ingested = ingest(tmp_path, data)
    report = call_dataset_step(tmp_path, "check", {"dataset": ingested}, "report")
    inputs = {"dataset": ingested, "report": report}
    with pytest.raises(DatasetError) as caught:
        call_dataset_step(tmp_path, "split", inputs, "dataset")
    assert caught.value.reason == "split_empty"


def test_images_that_look_alike_go_to_one_split(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 3})
    for number in range(12):
        frame, _ = render_plate(number, side_px=96)
        for quality in (95, 80, 60):
            name = f"p{number:02d}-{quality}"
            (tmp_path / f"set/images/train/{name}.jpg").write_bytes(
                encode_jpeg(frame, quality=quality)
            )
            (tmp_path / f"set/labels/train/{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    ingested = ingest(tmp_path, data)
    report = call_dataset_step(tmp_path, "check", {"dataset": ingested}, "report")
    inputs = {"dataset": ingested, "report": report}
    after = read_yolo(call_dataset_step(tmp_path, "split", inputs, "dataset") / "data.yaml")
    places = {(item.image.name[:3], item.split) for item in after.items if item.image.name < "q"}
    assert len(places) == 12
    assert len({split for _, split in places}) > 1


def test_groups_by_pattern_stay_together_and_given_splits_may_not_part_them(
    tmp_path: Path,
) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 40})
    ingested = ingest(tmp_path, data)
    report = call_dataset_step(tmp_path, "check", {"dataset": ingested}, "report")
    inputs = {"dataset": ingested, "report": report}
    parameters = {"group_pattern": r"(\d)\.png$"}
    folder = call_dataset_step(tmp_path, "split", inputs, "dataset", parameters=parameters)
    after = read_yolo(folder / "data.yaml")
    assert len({(item.image.stem[-1], item.split) for item in after.items}) == 10
    other = tmp_path / "other"
    ingested = ingest(other, write_yolo_folder(other / "set", images={"train": 2, "val": 2}))
    report = call_dataset_step(other, "check", {"dataset": ingested}, "report")
    inputs = {"dataset": ingested, "report": report}
    with pytest.raises(DatasetError) as caught:
        call_dataset_step(other, "split", inputs, "dataset", parameters=parameters)
    assert caught.value.reason == "group_across_splits"


def test_report_of_another_dataset_is_refused(tmp_path: Path) -> None:
    ingested = ingest(tmp_path, write_yolo_folder(tmp_path / "set", images={"train": 9}))
    (tmp_path / "report").mkdir()
    (tmp_path / "report/check.json").write_text('{"near_duplicates": [["train/a", "train/b"]]}')
    inputs = {"dataset": ingested, "report": tmp_path / "report"}
    with pytest.raises(StepFailedError) as caught:
        call_dataset_step(tmp_path, "split", inputs, "dataset")
    assert caught.value.reason == "check_report_invalid"
