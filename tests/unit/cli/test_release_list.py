"""`sightloop release list|diff`: what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.release import app
from sightloop.distribution.store import ReleaseStore
from sightloop.release.manifest import Metrics
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.plate_dataset import turn_into_coco, write_plate_dataset
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "w"
    key = create_key(place / "keys")
    store, trust = ReleaseStore(place / "releases"), load_trust(place / "keys")
    for semver, map50 in (("1.0.0", 0.5), ("1.1.0", 0.75)):
        build_tiny_release(
            tmp_path / semver,
            semver=semver,
            key=key,
            frames=1,
            kind="dark" if semver == "1.1.0" else "both",
            metrics=Metrics(map50=map50),
        )
        store.add(tmp_path / semver, trust)
    return place


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_versions_and_what_names_them(workspace: Path) -> None:
    _run("hold", "plate@1.0.0", "--note", "golden", "--workspace", workspace)
    first, second = _run("list", "--workspace", workspace).splitlines()
    assert first.startswith("plate@1.0.0")
    assert first.endswith("held: golden")
    assert "mAP50 0.750" in second
    value = json.loads(_run("list", "--workspace", workspace, "--json"))
    assert [row["roles"] for row in value["releases"]] == [["held: golden"], []]
    assert json.loads(_run("list", "--workspace", workspace, "--line", "other", "--json")) == {
        "releases": []
    }


def test_list_of_no_workspace_creates_none(tmp_path: Path) -> None:
    assert "no releases" in _run("list", "--workspace", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_diff_shows_what_changed(workspace: Path) -> None:
    text = _run("diff", "plate@1.0.0", "plate@1.1.0", "--workspace", workspace)
    assert "mAP50" in text
    assert "0.5 -> 0.75  (+0.250)" in text
    same = _run("diff", "plate@1.0.0", "plate@1.0.0", "--workspace", workspace)
    assert "no differences" in same


@pytest.mark.parametrize("layout", ["yolo", "coco"])
def test_diff_on_images_names_the_flipped(workspace: Path, tmp_path: Path, layout: str) -> None:
    data = write_plate_dataset(tmp_path / "data", {"train": 1, "test": 4})
    data = turn_into_coco(data) if layout == "coco" else data
    arguments = ("diff", "plate@1.0.0", "plate@1.1.0", "--data", data, "--workspace", workspace)
    value = json.loads(_run(*arguments, "--json"))["images"]
    assert value["images"] == value["right_before"] == 4
    assert len(value["flips"]) == 4 - value["right_after"] > 0
    assert "0 mended" in _run(*arguments)
