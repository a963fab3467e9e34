from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.config.workspace import open_workspace
from sightloop.demo.run import KEPT_NAME, DemoOptions, forget_history, run_demo, updates_of
from sightloop.errors import WorkspaceError


class SilentScreen:
    def act(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...


def test_a_new_demo_starts_history_store_and_registry_anew_and_keeps_the_trainings(
    tmp_path: Path,
) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    kept = [workspace.keys / "default.key", workspace.cache / "y"]
    gone = [workspace.serving_database, workspace.root / "serving.db-wal", tmp_path / KEPT_NAME]
    gone += [workspace.mlflow_database, workspace.releases / "x", workspace.mlflow_artifacts / "y"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    forget_history(workspace, tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_a_demo_on_the_folder_of_a_kept_server_is_refused_and_harms_nothing(
    tmp_path: Path,
) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    workspace.serving_database.touch()
    (tmp_path / KEPT_NAME).write_text(json.dumps({"url": "http://here", "pid": 4711}))
    with open(workspace.root / "serving.lock", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(WorkspaceError, match="process 4711 at http://here"):
            run_demo(DemoOptions(out=tmp_path, quick=True), SilentScreen(), clock=SystemClock())
    assert workspace.serving_database.exists()


@pytest.mark.parametrize(
    ("quick", "cached", "updates"),
    [(True, False, 6), (False, False, 20), (False, True, 8)],
)
def test_fewer_updates_where_every_training_came_from_the_cache(
    tmp_path: Path, *, quick: bool, cached: bool, updates: int
) -> None:
    assert updates_of(DemoOptions(out=tmp_path, quick=quick), cached=cached) == updates
