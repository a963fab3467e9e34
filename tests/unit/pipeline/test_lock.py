"""Rules of the line's lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sightloop.config.workspace import Workspace, open_workspace
from sightloop.errors import PipelineError
from sightloop.pipeline.lock import hold_line


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws")


def test_second_run_of_a_line_is_refused_and_names_the_first(workspace: Workspace) -> None:
    with hold_line(workspace, "plate"):
        with (
            pytest.raises(PipelineError, match=f"process {os.getpid()}") as caught,
            hold_line(workspace, "plate"),
        ):
            pass
        assert caught.value.reason == "run_in_progress"
    with hold_line(workspace, "plate"):
        pass


def test_lines_do_not_wait_for_each_other(workspace: Workspace) -> None:
    with hold_line(workspace, "plate"), hold_line(workspace, "road"):
        pass


def _leftovers(workspace: Workspace) -> list[Path]:
    places = [
        workspace.cache / "train" / ".tmp-a",
        workspace.runs / "run-1" / ".tmp-b",
        workspace.runs / "run-1" / "steps" / ".tmp-c",
        workspace.cache / ".tmp-d",
    ]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / "half").write_text("half")
    return places


def test_leftovers_of_killed_runs_are_removed_at_the_next(workspace: Workspace) -> None:
    places = _leftovers(workspace)
    (workspace.cache / "train" / "kept").mkdir()
    with hold_line(workspace, "plate"):
        assert not any(place.exists() for place in places)
        assert (workspace.cache / "train" / "kept").exists()


def test_nothing_is_removed_while_another_line_runs(workspace: Workspace) -> None:
    with hold_line(workspace, "road"):
        places = _leftovers(workspace)
        with hold_line(workspace, "plate"):
            assert all(place.exists() for place in places)


def test_three_newest_unfinished_steps_are_kept(workspace: Workspace) -> None:
    folders = [workspace.unfinished / "train" / f"key-{number}" for number in range(5)]
    for age_s, folder in enumerate(folders):
        (folder / ".tmp-half").mkdir(parents=True)
        os.utime(folder, (1000.0 - age_s, 1000.0 - age_s))
    with hold_line(workspace, "plate"):
        assert [folder for folder in folders if folder.exists()] == folders[:3]
        assert not any((folder / ".tmp-half").exists() for folder in folders)
