"""Rules of a step as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.errors import ConfigError
from sightloop.pipeline.step_command import declared_step, run_command
from sightloop.testing.dataset_steps import call_dataset_step, ingest
from sightloop.testing.yolo_folder import write_yolo_folder


def test_command_never_replaces_what_is_there(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 1})
    (tmp_path / "ingest-dataset").mkdir()
    (tmp_path / "ingest-dataset" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        ingest(tmp_path, data)
    assert caught.value.reason == "output_exists"
    assert (tmp_path / "ingest-dataset" / "mine.txt").read_text() == "mine"


def test_command_names_what_is_missing_or_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--in: .*report"):
        call_dataset_step(tmp_path, "split", {"dataset": tmp_path}, "dataset")
    with pytest.raises(ConfigError, match=r"--set: .*colour"):
        call_dataset_step(
            tmp_path, "ingest", {}, "dataset", data=tmp_path, parameters={"colour": 1}
        )
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
