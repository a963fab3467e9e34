"""Rules of the written report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.dataset.check_report import AgainstParent, refusal, write_report
from sightloop.dataset.checks import CheckReport, check_dataset
from sightloop.dataset.summary import compare
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import write_yolo_folder


@pytest.fixture
def report(tmp_path: Path) -> CheckReport:
    data = write_yolo_folder(tmp_path / "set", images={"train": 3, "val": 2})
    (tmp_path / "set/labels/train/train-0.txt").write_text("0 1\n0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "set/labels/train/train-1.txt").unlink()
    return check_dataset(read_yolo(data))


def test_both_files_say_the_same(tmp_path: Path, report: CheckReport) -> None:
    write_report(tmp_path / "new/folder", report, source="here")
    value = json.loads((tmp_path / "new/folder/check.json").read_bytes())
    page = (tmp_path / "new/folder/check.html").read_text()
    assert value["passed"] is False
    assert "parent" not in value
    assert all(finding["kind"] in page for finding in value["findings"])


def test_parents_counts_stand_in_both_and_their_absence_is_said(
    tmp_path: Path, report: CheckReport
) -> None:
    changes = tuple(compare(report.summary, report.summary))
    known = AgainstParent("weld 1.0.0 abc", changes)
    write_report(tmp_path / "known", report, source="here", against=known)
    parent = json.loads((tmp_path / "known/check.json").read_bytes())["parent"]
    assert parent["dataset_known"] is True
    assert {"what": "class pit", "parent": 3, "here": 3} in parent["counts"]
    assert "class pit" in (tmp_path / "known/check.html").read_text()
    unknown = AgainstParent("weld 1.0.0 abc", None)
    write_report(tmp_path / "unknown", report, source="here", against=unknown)
    parent = json.loads((tmp_path / "unknown/check.json").read_bytes())["parent"]
    assert parent == {"release": "weld 1.0.0 abc", "dataset_known": False, "counts": []}
    assert "is not in this workspace" in (tmp_path / "unknown/check.html").read_text()


def test_refusal_names_kinds_counts_and_where_the_report_is(report: CheckReport) -> None:
    error = refusal(report, "here", Path("there"))
    assert error.reason == "dataset_faulty"
    assert "found 3 fault(s)" in error.message
    assert "1 label_malformed" in error.message
    assert error.message.endswith("all of them are in there/check.json")
    assert "all of them" not in refusal(report, "here", None).message
