"""`sightloop release hold|unhold|prune`: a dry run changes nothing, a hold keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.release import app
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ReleaseNotFoundError
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release

ALL = ("--keep-last", 0, "--grace-minutes", 0)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "w"
    key = create_key(place / "keys")
    for semver in ("1.0.0", "1.1.0"):
        build_tiny_release(tmp_path / semver, semver=semver, key=key, frames=1)
        ReleaseStore(place / "releases").add(tmp_path / semver, load_trust(place / "keys"))
    return place


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_held_release_outlives_a_prune(workspace: Path) -> None:
    _run("hold", "plate@1.0.0", "--workspace", workspace)
    dry = _run("prune", "--dry-run", *ALL, "--workspace", workspace)
    assert "remove  plate@1.1.0" in dry
    assert "nothing was changed" in dry
    done = json.loads(_run("prune", *ALL, "--workspace", workspace, "--json"))
    assert [entry["semver"] for entry in done["removed"]] == ["1.1.0"]
    assert "no more" in _run("unhold", "plate@1.0.0", "--workspace", workspace)
    assert "not held" in _run("unhold", "plate@1.0.0", "--workspace", workspace)
    assert "1 removed" in _run("prune", *ALL, "--workspace", workspace)


def test_leftovers_of_releases_that_are_gone_are_listed_by_a_dry_run_and_removed(
    workspace: Path,
) -> None:
    answers = workspace / "answers" / f"{'9' * 64}.json"
    answers.parent.mkdir()
    answers.write_text("{}")
    dry = _run("prune", "--dry-run", "--workspace", workspace)
    assert f"remove  answers/{'9' * 64}.json" in dry
    assert "0 would be removed and 1 leftovers" in dry
    assert answers.exists()
    done = json.loads(_run("prune", "--workspace", workspace, "--json"))
    assert done["leftovers"] == [
        {"kind": "answers", "path": f"answers/{'9' * 64}.json", "bytes": 2}
    ]
    assert not answers.exists()


def test_defaults_keep_what_was_just_made(workspace: Path) -> None:
    done = json.loads(_run("prune", "--keep-last", 0, "--workspace", workspace, "--json"))
    assert done["removed"] == []


@pytest.mark.parametrize("name", ["plate", "plate@9.9.9"])
def test_hold_on_nothing_is_refused(workspace: Path, name: str) -> None:
    with pytest.raises(ReleaseNotFoundError):
        _run("hold", name, "--workspace", workspace)
