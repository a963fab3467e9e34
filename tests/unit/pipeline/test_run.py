"""Rules of a run and its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightloop._support.clock import SystemClock
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError, TrainerError, VersionExistsError
from sightloop.pipeline.config import PipelineConfig
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.run import plan, run_pipeline, run_steps, with_parent_digest
from sightloop.pipeline.step import Step
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.testing.toy_steps import calls, toy_chain, toy_step
from sightloop.testing.yolo_folder import write_yolo_folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws")


def _run(workspace: Workspace, *steps: Step) -> str:
    run_id, _ = run_steps(
        steps,
        workspace,
        line="plate",
        config={"semver": "1.0.0"},
        display=SilentDisplay(),
        clock=SystemClock(),
    )
    return run_id


def _record(workspace: Workspace, run_id: str) -> Any:
    return json.loads((workspace.runs / run_id / "run.json").read_bytes())


def _states(record: Any) -> list[str]:
    return [step["state"] for step in record["steps"]]


def test_unchanged_rerun_computes_nothing(workspace: Workspace) -> None:
    first = _record(workspace, _run(workspace, *toy_chain("1", "2", "3")))
    second = _record(workspace, _run(workspace, *toy_chain("1", "2", "3")))
    assert _states(first) == ["ran"] * 3
    assert _states(second) == ["cached"] * 3
    assert [step["key"] for step in first["steps"]] == [step["key"] for step in second["steps"]]
    assert calls(workspace) == ["a", "b", "c"]


def test_change_runs_the_step_and_what_depends_on_it(workspace: Workspace) -> None:
    _run(workspace, *toy_chain("1", "2", "3"))
    record = _record(workspace, _run(workspace, *toy_chain("1", "changed", "3")))
    assert _states(record) == ["cached", "ran", "ran"]


def test_failed_run_says_where_and_keeps_what_was_finished(workspace: Workspace) -> None:
    a, c = toy_step("a"), toy_step("c")
    bad = toy_step("b", reads=["a"], fail="ours")
    with pytest.raises(TrainerError):
        _run(workspace, a, bad, c)
    (path,) = workspace.runs.glob("*/run.json")
    record = json.loads(path.read_bytes())
    assert record["state"] == "failed"
    assert record["error"]["reason"] == "trainer_failed"
    assert _states(record) == ["ran", "failed", "waiting"]
    assert _states(_record(workspace, _run(workspace, a, c))) == ["cached", "ran"]


def test_missing_outside_file_is_said_before_the_first_step(
    workspace: Workspace, tmp_path: Path
) -> None:
    late = toy_step("b", reads=["a"], files={"weights": tmp_path / "none.pt"})
    with pytest.raises(ConfigError) as caught:
        _run(workspace, toy_step("a"), late)
    assert caught.value.reason == "file_missing"
    assert calls(workspace) == []


def test_interrupted_run_says_so(workspace: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(workspace, toy_step("a", fail="interrupt"))
    (path,) = workspace.runs.glob("*/run.json")
    assert json.loads(path.read_bytes())["state"] == "interrupted"


def test_killed_run_is_marked_by_the_next_of_its_line(workspace: Workspace) -> None:
    killed, other = _run(workspace, toy_step("a")), _run(workspace, toy_step("a"))
    for run_id, line in ((killed, "plate"), (other, "road")):
        value = {**_record(workspace, run_id), "state": "running", "line": line}
        (workspace.runs / run_id / "run.json").write_text(json.dumps(value))
    _run(workspace, toy_step("a"))
    assert _record(workspace, killed)["state"] == "interrupted"
    assert _record(workspace, other)["state"] == "running"


def test_record_holds_config_times_and_results(workspace: Workspace) -> None:
    record = _record(workspace, _run(workspace, toy_step("a")))
    assert record["state"] == "done"
    assert record["config"] == {"semver": "1.0.0"}
    assert record["started"] <= record["ended"]
    assert Path(record["result"]["a"]).is_dir()


def _config(data: Path, **changes: object) -> PipelineConfig:
    values = {"line": "plate", "semver": "1.0.0", "data": data, **changes}
    return PipelineConfig.model_validate(values)


def test_plan_says_what_would_run_and_runs_nothing(workspace: Workspace, tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    planned = plan(_config(data), workspace)
    assert [one.what for one in planned] == ["run", *["unknown"] * 7, "run"]
    assert not workspace.cache.exists()


def test_unknown_engine_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of inline"):
        run_pipeline(_config(tmp_path / "data.yaml"), workspace, engine="airflow")


def test_parent_that_is_not_in_the_store_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="parent: ") as caught:
        with_parent_digest(_config(tmp_path / "data.yaml", parent="0.9.0"), workspace)
    assert caught.value.reason == "parent_missing"


def test_parent_as_a_folder_is_left_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    config = _config(tmp_path / "data.yaml", parent="/bundles/one")
    assert with_parent_digest(config, workspace) is config


def test_semver_that_is_taken_is_said_before_the_training(
    workspace: Workspace, tmp_path: Path
) -> None:
    key = create_key(workspace.keys)
    build_tiny_release(tmp_path / "taken", line="weld", semver="1.0.0", key=key, frames=2)
    ReleaseStore(workspace.releases).add(tmp_path / "taken", load_trust(workspace.keys))
    config = _config(
        write_yolo_folder(tmp_path / "weld", images={"train": 9}), line="weld", semver="1.0.0"
    )
    with pytest.raises(VersionExistsError, match="raise `semver`"):
        run_pipeline(config, workspace)
    (run,) = [path.parent for path in workspace.runs.glob("*/run.json")]
    assert _states(_record(workspace, run.name))[:4] == ["ran", "ran", "ran", "failed"]
