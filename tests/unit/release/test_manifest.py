"""manifest.json says what it must, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ManifestInvalidError
from sightloop.release.manifest import (
    check_line,
    check_relative_path,
    digest_of,
    manifest_from_bytes,
    manifest_to_bytes,
    parse_semver,
)
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("release")
    build_tiny_release(folder / "b", semver="1.0.0", key=create_key(folder / "k"), frames=1)
    return (folder / "b" / "manifest.json").read_bytes()


def test_canonical_bytes_survive_a_round_trip(data: bytes) -> None:
    assert manifest_to_bytes(manifest_from_bytes(data)) == data
    assert len(digest_of(data)) == 64


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "sightloop.release/2"),
        ("unknown", 1),
        ("line", "Plate"),
        ("semver", "1.0"),
        ("semver", "01.0.0"),
        ("classes", []),
        ("classes", ["pit", "pit"]),
        ("classes", ["pit"]),
        ("files", {}),
        ("thresholds", {"score": 1.5}),
    ],
)
def test_impossible_value_is_refused(data: bytes, key: str, value: object) -> None:
    document: dict[str, Any] = json.loads(data)
    document[key] = value
    with pytest.raises(ManifestInvalidError) as caught:
        manifest_from_bytes(json.dumps(document).encode())
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_manifest_cannot_list_itself(data: bytes, name: str) -> None:
    document = json.loads(data)
    document["files"][name] = document["files"]["model.onnx"]
    with pytest.raises(ManifestInvalidError):
        manifest_from_bytes(json.dumps(document).encode())


def test_semvers_order_as_numbers() -> None:
    assert parse_semver("1.10.0") > parse_semver("1.9.9") > parse_semver("0.99.0")


@given(st.text(alphabet="abc./\\\0", max_size=8))
def test_accepted_path_stays_inside(text: str) -> None:
    try:
        check_relative_path(text)
    except ValueError:
        return
    inside = Path("/bundle") / text
    assert Path("/bundle") in inside.parents
    assert ".." not in inside.parts


@pytest.mark.parametrize("text", ["", "-a", "a_b", "ä", "a" * 64, "a/b"])
def test_line_that_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 63"):
        check_line(text)
