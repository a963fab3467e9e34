"""`sightloop release`: what it prints, and which errors it raises for the root to map."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.release import app
from sightloop.errors import ConfigError, SignatureInvalidError
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    key = create_key(tmp_path / "w" / "keys")
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=key, frames=1)
    return tmp_path / "w"


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_key_is_made_once(tmp_path: Path) -> None:
    made = json.loads(_run("keygen", "--workspace", tmp_path, "--name", "line-a", "--json"))
    assert Path(made["public"]).is_file()
    with pytest.raises(ConfigError):
        _run("keygen", "--workspace", tmp_path, "--name", "line-a")


def test_release_signed_by_the_workspace_verifies(workspace: Path, tmp_path: Path) -> None:
    value = json.loads(_run("verify", tmp_path / "bundle", "--workspace", workspace, "--json"))
    assert (value["line"], value["semver"]) == ("plate", "1.0.0")
    assert value["signer"] != "unverified"


def test_stranger_is_trusted_by_name_alone(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(SignatureInvalidError) as caught:
        _run("verify", tmp_path / "bundle", "--workspace", other)
    assert caught.value.reason == "signer_untrusted"
    public = workspace / "keys" / "default.pub"
    assert "plate@1.0.0" in _run(
        "verify", tmp_path / "bundle", "--workspace", other, "--trust", public
    )


def test_verifying_creates_no_workspace(workspace: Path, tmp_path: Path) -> None:
    public = workspace / "keys" / "default.pub"
    _run("verify", tmp_path / "bundle", "--workspace", tmp_path / "none", "--trust", public)
    assert not (tmp_path / "none").exists()


def test_shown_release_is_called_unverified(workspace: Path, tmp_path: Path) -> None:
    assert "unverified" in _run("show", tmp_path / "bundle")
    assert json.loads(_run("show", tmp_path / "bundle", "--json"))["signer"] == "unverified"
