"""Rules of `sightloop dataset`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.main import app
from sightloop.errors import ConfigError, DatasetError
from sightloop.testing.yolo_folder import write_yolo_folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_yolo_folder(tmp_path / "set", images={"train": 4, "val": 2})


def call(*words: str) -> tuple[str, BaseException | None]:
    result = CliRunner().invoke(app, ["dataset", *words])
    return result.stdout, result.exception


def test_check_of_a_sound_dataset_says_so_and_writes_nothing_beside_it(data: Path) -> None:
    before = sorted(data.parent.rglob("*"))
    text, error = call("check", str(data))
    assert error is None
    assert text == "6 images: 0 fatal finding(s), 0 warning(s)\n"
    assert sorted(data.parent.rglob("*")) == before


def test_fatal_findings_are_shown_written_and_end_with_exit_code_4(
    data: Path, tmp_path: Path
) -> None:
    (data.parent / "labels/train/train-0.txt").unlink()
    done = subprocess.run(
        [sys.executable, "-c", "from sightloop.cli.main import main; main()",
         "dataset", "check", str(data.parent), "--report", str(tmp_path / "report")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "1 fatal finding(s)" in done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("[label_missing]\n")
    assert done.stderr.count("\n") == 1
    assert json.loads((tmp_path / "report/check.json").read_bytes())["passed"] is False
    assert "train-0.png" in (tmp_path / "report/check.html").read_text()


def test_json_is_one_object_and_with_fatal_findings_it_is_the_error(data: Path) -> None:
    text, _ = call("check", str(data), "--json")
    assert json.loads(text)["summary"]["boxes"] == {"pit": 3, "spot": 3}
    (data.parent / "labels/train/train-0.txt").unlink()
    text, error = call("check", str(data), "--json")
    assert text == ""
    assert isinstance(error, DatasetError)


def test_options_are_the_rules_of_the_check(data: Path) -> None:
    for label in (data.parent / "labels/train").iterdir():
        label.write_text("0 0.5 0.5 0.25 0.25\n")
    assert isinstance(call("check", str(data))[1], DatasetError)
    assert call("check", str(data), "--allow-empty-classes")[1] is None
    assert isinstance(call("check", str(data), "--near-duplicates", "maybe")[1], ConfigError)


def test_show_counts_splits_classes_and_light(data: Path) -> None:
    text, error = call("show", str(data))
    assert error is None
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["train", "4"], ["val", "2"], ["test", "0"], ["pit", "3"], ["spot", "3"],
        ["light", "dark"], ["light", "normal"], ["light", "bright"],
    ]  # fmt: skip
    text, _ = call("show", str(data), "--json")
    value = json.loads(text)
    assert value["counts"]["images"] == {"train": 4, "val": 2, "test": 0}
    assert len(value["version"]) == 64
