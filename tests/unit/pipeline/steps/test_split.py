"""Rules of the step split."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop._support.files import sha256_file
from sightloop.dataset.copying import read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.yolo_folder import write_yolo_folder


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
