from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.errors import WorkspaceError


def test_workspace_is_created_and_absolute(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "a" / "b")
    assert workspace.root.is_dir()
    assert workspace.releases.is_absolute()
    assert list(workspace.root.iterdir()) == []


def test_file_in_the_workspaces_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="--workspace"):
        open_workspace(tmp_path / "file")
