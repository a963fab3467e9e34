"""`sightloop release`: what it prints, and which errors it raises for the root to map."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.release import app
from sightloop.errors import ConfigError, SignatureInvalidError
from sightloop.release.signing import create_key
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release


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


def test_release_of_the_store_is_named_by_line_and_semver(workspace: Path, tmp_path: Path) -> None:
    digest = json.loads(_run("show", tmp_path / "bundle", "--json"))["digest"]
    shutil.copytree(tmp_path / "bundle", workspace / "releases" / digest)
    for verb in ("show", "verify"):
        value = json.loads(_run(verb, "plate@1.0.0", "--workspace", workspace, "--json"))
        assert value["digest"] == digest


def test_verifying_creates_no_workspace(workspace: Path, tmp_path: Path) -> None:
    public = workspace / "keys" / "default.pub"
    _run("verify", tmp_path / "bundle", "--workspace", tmp_path / "none", "--trust", public)
    assert not (tmp_path / "none").exists()


def test_shown_release_is_called_unverified(workspace: Path, tmp_path: Path) -> None:
    assert "unverified" in _run("show", tmp_path / "bundle")
    assert json.loads(_run("show", tmp_path / "bundle", "--json"))["signer"] == "unverified"


def _build(folder: Path, *more: object) -> tuple[str, str]:
    """Build plate@1.0.0 into the store of `folder`/w: what it prints, and what it says beside."""
    build_tiny_detector(folder / "plate.onnx")
    data = folder / "data" / "data.yaml"
    if not data.exists():
        write_plate_dataset(folder / "data", {"train": 1, "val": 3})
    result = CliRunner().invoke(
        app,
        [
            *("build", "--onnx", str(folder / "plate.onnx"), "--data", str(data)),
            *("--line", "plate", "--semver", "1.0.0", "--workspace", str(folder / "w")),
            *(str(part) for part in more),
        ],
        catch_exceptions=False,
    )
    return result.stdout, result.stderr


def test_build_warns_where_the_name_is_no_longer_of_one_release(tmp_path: Path) -> None:
    first, _ = _build(tmp_path, "--json")
    again, warning = _build(tmp_path, "--license", "MIT", "--json")
    old, new = (json.loads(text)["digest"][:12] for text in (first, again))
    assert warning.startswith(f"warning: the store also has {old} as plate@1.0.0")
    assert f"plate@{new}" in warning


def test_misspelt_key_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _build(tmp_path, "--key", "lime-4")
    assert caught.value.reason == "key_missing"
    assert not (tmp_path / "w" / "keys" / "lime-4.key").exists()


def test_build_warns_of_a_network_that_finds_next_to_nothing(tmp_path: Path) -> None:
    assert "mAP50" not in _build(tmp_path, "--json")[1]
    for path in (tmp_path / "data" / "labels" / "val").iterdir():
        exchanged = [f"{1 - int(row[0])}{row[1:]}" for row in path.read_text().splitlines()]
        path.write_text("\n".join(exchanged))
    assert "warning: mAP50 of 0.000 on val" in _build(tmp_path, "--json")[1]
