"""Rules of `sightloop pipeline`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.pipeline import app
from sightloop.errors import ConfigError, DatasetError
from sightloop.testing.yolo_folder import write_yolo_folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_yolo_folder(tmp_path / "set", images={"train": 6})
    path = tmp_path / "plate.toml"
    path.write_text('line = "plate"\nsemver = "1.0.0"\ndata = "set/data.yaml"\n')
    return path


def _invoke(tmp_path: Path, *arguments: str) -> str:
    options = ["--workspace", str(tmp_path / "ws")]
    result = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_show_lists_the_steps_and_what_a_run_would_do(tmp_path: Path, config: Path) -> None:
    lines = _invoke(tmp_path, "show", "--config", str(config)).splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ingest", "run"], ["check", "unknown"]]
    assert lines[-1].split()[:2] == ["register", "run"]


def test_show_as_json_is_one_object_with_overridden_parameters(
    tmp_path: Path, config: Path
) -> None:
    text = _invoke(tmp_path, "show", "--config", str(config), "--set", "train.epochs=2", "--json")
    steps = {step["name"]: step for step in json.loads(text)["steps"]}
    assert steps["train"]["parameters"]["epochs"] == 2
    assert steps["register"]["cacheable"] is False


def test_weights_option_is_the_setting(tmp_path: Path, config: Path) -> None:
    weights = str(tmp_path / "a b.pt")
    text = _invoke(tmp_path, "show", "--config", str(config), "--weights", weights, "--json")
    steps = {step["name"]: step for step in json.loads(text)["steps"]}
    assert steps["train"]["files"] == {"weights": weights}


def test_step_is_a_command_of_its_own(tmp_path: Path, config: Path) -> None:
    data, place = tmp_path / "set/data.yaml", tmp_path / "made"
    text = _invoke(
        tmp_path, "step", "ingest", "--file", f"data={data}", "--out", f"dataset={place}", "--json"
    )
    assert json.loads(text)["outputs"] == {"dataset": str(place)}
    report = tmp_path / "report.json"
    _invoke(
        tmp_path, "step", "check", "--in", f"dataset={place}", "--out", f"report={report}",
        "--set", "allow_empty_classes=true",
    )  # fmt: skip
    assert json.loads((report / "check.json").read_bytes())["passed"] is True


def test_faulty_dataset_ends_the_run_before_training(tmp_path: Path, config: Path) -> None:
    (tmp_path / "set/labels/train/train-2.txt").write_text("0 3 3 1 1\n")
    arguments = ["run", "--config", str(config), "--workspace", str(tmp_path / "ws")]
    with pytest.raises(DatasetError) as caught:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert caught.value.reason == "label_outside"
    assert not (tmp_path / "ws/cache/train").exists()


def test_unknown_key_is_raised_for_the_root_command(tmp_path: Path, config: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.epoch: no such key"):
        _invoke(tmp_path, "show", "--config", str(config), "--set", "train.epoch=2")
