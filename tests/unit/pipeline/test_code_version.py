from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sightloop.pipeline.code_version import git_commit


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_commit_is_whole(repository: Path) -> None:
    assert git_commit(repository) == _git(repository, "rev-parse", "HEAD")


def test_tag_does_not_hide_the_commit(repository: Path) -> None:
    _git(repository, "tag", "-a", "v1", "-m", "one")
    assert git_commit(repository) == _git(repository, "rev-parse", "HEAD")


def test_uncommitted_change_is_said(repository: Path) -> None:
    (repository / "file").write_text("two")
    assert git_commit(repository) == _git(repository, "rev-parse", "HEAD") + "-dirty"


def test_folder_without_repository_has_no_code_version(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None


def test_machine_without_git_has_no_code_version(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_commit(repository) is None
