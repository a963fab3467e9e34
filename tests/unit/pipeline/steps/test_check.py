"""Rules of the step check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.dataset.copying import copy_dataset, read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError, DatasetError, ReleaseNotFoundError
from sightloop.release.manifest import Lineage
from sightloop.release.signing import ensure_key, load_trust
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.testing.yolo_folder import write_yolo_folder


def test_check_of_a_sound_dataset_writes_its_report(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    report = call_dataset_step(tmp_path, "check", {"dataset": ingest(tmp_path, data)}, "report")
    value = json.loads((report / "check.json").read_bytes())
    assert value["passed"] is True
    assert value["source"] == str(data)
    assert not (tmp_path / "ws/runs/run-1/check.html").exists()


def test_warnings_pass_and_lie_in_the_runs_folder_for_people(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    label = tmp_path / "set/labels/train/train-0.txt"
    label.write_text(label.read_text() * 2)
    report = call_dataset_step(tmp_path, "check", {"dataset": ingest(tmp_path, data)}, "report")
    assert "duplicate_boxes" in (tmp_path / "ws/runs/run-1/check.html").read_text()
    assert json.loads((report / "check.json").read_bytes())["passed"] is True


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


@pytest.mark.parametrize("known", [True, False])
def test_counts_stand_beside_those_of_the_parents_dataset(tmp_path: Path, known: bool) -> None:
    workspace = open_workspace(tmp_path / "ws")
    theirs = workspace.cache / "split/key/dataset"
    theirs.mkdir(parents=True)
    parents = write_yolo_folder(tmp_path / "old", images={"train": 6}, classes=("pit", "gone"))
    copy_dataset(read_yolo(parents), theirs, source="old")
    version = read_info(theirs).version if known else "0" * 64
    key, _ = ensure_key(workspace.keys)
    digest = build_tiny_release(
        tmp_path / "release", semver="1.0.0", key=key, lineage=Lineage(dataset_version=version)
    )
    ReleaseStore(workspace.releases).add(tmp_path / "release", load_trust(workspace.keys))
    data = write_yolo_folder(tmp_path / "set", images={"train": 4})
    report = call_dataset_step(
        tmp_path,
        "check",
        {"dataset": ingest(tmp_path, data)},
        "report",
        parameters={"parent": digest},
    )
    parent = json.loads((report / "check.json").read_bytes())["parent"]
    assert parent["release"] == f"plate 1.0.0 {digest[:12]}"
    assert parent["dataset_known"] is known
    expected = [("images", 6, 4), ("class pit", 3, 2), ("class spot", None, 2)]
    rows = [(row["what"], row["parent"], row["here"]) for row in parent["counts"]]
    assert rows[:3] == (expected if known else [])


def test_parent_that_is_not_there_ends_the_check(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 4})
    inputs = {"dataset": ingest(tmp_path, data)}
    with pytest.raises(ReleaseNotFoundError):
        call_dataset_step(tmp_path, "check", inputs, "report", parameters={"parent": "a" * 64})


def test_rule_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    inputs = {"dataset": ingest(tmp_path, write_yolo_folder(tmp_path / "s", images={"train": 2}))}
    with pytest.raises(ConfigError) as caught:
        call_dataset_step(tmp_path, "check", inputs, "report", parameters={"near_duplicates": "x"})
    assert caught.value.reason == "near_duplicates_unknown"
