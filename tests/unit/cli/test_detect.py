"""`sightloop detect`: each answer and each fault names its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.main import app
from sightloop.errors import ImageError, ServerRefusedError
from sightloop.release.signing import create_key
from sightloop.testing.tiny_detectors import build_tiny_release, render_plate
from sightloop.vision.decode import encode_png

FOUND = {"class": "pit", "class_id": 0, "score": 0.9, "box": [1.0, 2.0, 30.0, 40.0]}


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    path = tmp_path / "plate.png"
    path.write_bytes(encode_png(render_plate(0)[0]))
    return path


def _detect(folder: Path, *arguments: object) -> str:
    words = ["detect", *(str(part) for part in arguments), "--out", str(folder / "out"), "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_answer_of_a_server_names_the_file(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"image": {"width": 160, "height": 160}, "detections": [FOUND]}
    monkeypatch.setattr("sightloop.client.http_client.Client.detect", lambda *_, **__: answer)
    assert json.loads(_detect(tmp_path, plate))["image"] == str(plate)


def test_image_that_the_server_refuses_is_unusable_input(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ServerRefusedError("no image", "image_undecodable", 400)

    monkeypatch.setattr("sightloop.client.http_client.Client.detect", refuse)
    with pytest.raises(ImageError, match=str(plate)) as caught:
        _detect(tmp_path, plate)
    assert caught.value.reason == "image_undecodable"


def test_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    key = create_key(tmp_path / "w" / "keys")
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=key, frames=1)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.png"):
        _detect(
            tmp_path,
            tmp_path / "text.png",
            *("--release", tmp_path / "bundle", "--workspace", tmp_path / "w"),
        )
