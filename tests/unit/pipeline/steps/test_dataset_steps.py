"""Rules of the steps ingest, check and split, run as commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sightloop._support.files import sha256_file
from sightloop.config.workspace import open_workspace
from sightloop.dataset.copying import read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import ConfigError, DatasetError
from sightloop.pipeline.cache import tree_digest
from sightloop.pipeline.step import Parameter
from sightloop.pipeline.step_command import declared_step, run_command
from sightloop.testing.yolo_folder import write_yolo_folder


def _step(
    root: Path,
    name: str,
    inputs: Mapping[str, Path],
    output: str,
    *,
    data: Path | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> Path:
    place = root / f"{name}-{output}"
    run_command(
        declared_step(name),
        inputs=inputs,
        outputs={output: place},
        files={"data": data} if data else {},
        parameters=parameters or {},
        workspace=open_workspace(root / "ws"),
        run_id="run-1",
        report=lambda fraction, text: None,
    )
    return place


def _ingest(root: Path, data: Path) -> Path:
    return _step(root, "ingest", {}, "dataset", data=data)


def test_ingest_writes_nothing_into_the_users_folder(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 3, "val": 1})
    before = tree_digest(data.parent)
    folder = _ingest(tmp_path, data)
    assert tree_digest(data.parent) == before
    assert read_info(folder).source == str(data)
    assert {path.name for path in folder.iterdir()} == {
        "images", "labels", "data.yaml", "dataset.json",
    }  # fmt: skip


def test_check_of_a_sound_dataset_writes_its_report(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    report = _step(tmp_path, "check", {"dataset": _ingest(tmp_path, data)}, "report")
    value = json.loads(report.read_bytes())
    assert value["passed"] is True
    assert value["source"] == str(data)


def test_check_names_the_first_faults_their_counts_and_the_report(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 12, "val": 2})
    for index in range(8):
        label = tmp_path / f"set/labels/train/train-{index}.txt"
        label.write_text(f"{label.read_text()}7 0.5 0.5 0.1 0.1\n")
    (tmp_path / "set/images/val/val-0.png").write_bytes(b"no image")
    dataset = _ingest(tmp_path, data)
    with pytest.raises(DatasetError) as caught:
        _step(tmp_path, "check", {"dataset": dataset}, "report")
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
        _step(tmp_path, "check", {"dataset": _ingest(tmp_path, data)}, "report")
    assert caught.value.reason == "label_missing"


def test_split_makes_absent_splits_and_loses_no_image(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 20, "val": 4})
    ingested = _ingest(tmp_path, data)
    report = tmp_path / "report.json"
    report.write_text("{}")
    folder = _step(
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
    inputs = {"dataset": _ingest(tmp_path, data), "report": data}
    with pytest.raises(DatasetError) as caught:
        _step(tmp_path, "split", inputs, "dataset")
    assert caught.value.reason == "split_empty"


def test_command_never_replaces_what_is_there(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 1})
    (tmp_path / "ingest-dataset").mkdir()
    (tmp_path / "ingest-dataset" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        _ingest(tmp_path, data)
    assert caught.value.reason == "output_exists"
    assert (tmp_path / "ingest-dataset" / "mine.txt").read_text() == "mine"


def test_command_names_what_is_missing_or_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--in: .*report"):
        _step(tmp_path, "split", {"dataset": tmp_path}, "dataset")
    with pytest.raises(ConfigError, match=r"--set: .*colour"):
        _step(tmp_path, "ingest", {}, "dataset", data=tmp_path, parameters={"colour": 1})
    with pytest.raises(ConfigError, match=r"--set: .*line"):
        run_command(
            declared_step("register"),
            inputs=dict.fromkeys(
                ("dataset", "training", "evaluation", "verdicts", "bundle"), tmp_path
            ),
            outputs={"result": tmp_path / "r"},
            files={},
            parameters={},
            workspace=open_workspace(tmp_path / "ws"),
            run_id="run-1",
            report=lambda fraction, text: None,
        )
    with pytest.raises(ConfigError, match="expected one of ingest, check"):
        declared_step("ingestt")
