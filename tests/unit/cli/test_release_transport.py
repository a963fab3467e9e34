"""`sightloop release export|import`: a release travels between workspaces as one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.release import app
from sightloop.errors import BundleError, ConfigError, SignatureInvalidError
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture
def maker(tmp_path: Path) -> Path:
    key = create_key(tmp_path / "maker" / "keys")
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=key, frames=1)
    return tmp_path / "maker"


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_release_travels_to_who_trusts_its_maker(maker: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "plate.sightloop", tmp_path / "other"
    _run("export", tmp_path / "bundle", "--out", file, "--workspace", maker)
    public = maker / "keys" / "default.pub"
    arguments = ("import", file, "--workspace", other, "--trust", public)
    value = json.loads(_run(*arguments, "--json"))
    assert Path(value["path"]) == (other / "releases" / value["digest"]).resolve()
    assert "plate@1.0.0" in _run(*arguments), "again changes nothing"
    # From the store, by its name: the file is the same.
    second = tmp_path / "again.sightloop"
    _run("export", "plate@1.0.0", "--out", second, "--workspace", other, "--trust", public)
    assert second.read_bytes() == file.read_bytes()


def test_refused_file_leaves_the_store_empty(maker: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "plate.sightloop", tmp_path / "other"
    _run("export", tmp_path / "bundle", "--out", file, "--workspace", maker)
    with pytest.raises(SignatureInvalidError):
        _run("import", file, "--workspace", other)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BundleError):
        _run("import", file, "--workspace", maker)
    assert not list((other / "releases").iterdir())
    assert not list((maker / "releases").iterdir())


def test_unusable_openssf_key_is_an_error_of_the_settings(maker: Path, tmp_path: Path) -> None:
    """With or without the extra: a wrong key, or what to install."""
    arguments = ("export", tmp_path / "bundle", "--out", tmp_path / "x.sightloop")
    with pytest.raises(ConfigError) as caught:
        _run(*arguments, "--openssf-key", tmp_path / "none.pem", "--workspace", maker)
    assert caught.value.reason in {"openssf_key_invalid", "missing_extra"}
    assert not (tmp_path / "x.sightloop.openssf.json").exists()
