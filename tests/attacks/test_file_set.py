"""Promise: exactly the signed files, plain ones, inside the bundle."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    "name", ["extra.txt", ".hidden", "calibration/more.png", "calibration/frames/z.png", "a\nb"]
)
def test_unknown_file_is_refused(node: Any, bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"payload")
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "file_unknown")


def test_file_with_a_name_that_is_no_text_is_refused(node: Any, bundle: Path) -> None:
    with open(os.fsencode(bundle) + b"/\xff\xfe", "wb") as stream:
        stream.write(b"payload")
    assert node.refusal(bundle).reason == "file_unknown"


@pytest.mark.parametrize("name", ["empty", "calibration/frames/nested"])
def test_extra_empty_folder_is_refused(node: Any, bundle: Path, name: str) -> None:
    (bundle / name).mkdir()
    assert node.refusal(bundle).reason == "folder_unknown"


@pytest.mark.parametrize("name", ["model.onnx", "calibration/expected.json", "manifest.json"])
def test_missing_file_is_refused(node: Any, bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "file_missing")
    assert name in verdict.message


def test_missing_folder_is_refused(node: Any, tmp_path: Path) -> None:
    assert node.refusal(tmp_path / "nowhere").reason == "bundle_missing"


@pytest.mark.parametrize(
    "name", ["model.onnx", "manifest.json", "manifest.sig", "calibration/expected.json"]
)
def test_link_to_the_same_bytes_is_refused(
    node: Any, bundle: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    (bundle / name).rename(outside)
    (bundle / name).symlink_to(outside)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "file_linked")


def test_linked_folder_is_refused(node: Any, bundle: Path, tmp_path: Path) -> None:
    (bundle / "calibration").rename(tmp_path / "outside")
    (bundle / "calibration").symlink_to(tmp_path / "outside")
    assert node.refusal(bundle).reason == "file_linked"


@pytest.mark.parametrize("target", ["nowhere", ".", "extra", "model.onnx", "/etc/passwd"])
def test_extra_link_is_refused_wherever_it_leads(node: Any, bundle: Path, target: str) -> None:
    (bundle / "extra").symlink_to(target)
    assert node.refusal(bundle).reason == "file_linked"


def test_pipe_in_the_place_of_a_file_is_refused_without_waiting(node: Any, bundle: Path) -> None:
    for name in ("model.onnx", "manifest.json", "manifest.sig"):
        kept = (bundle / name).read_bytes()
        (bundle / name).unlink()
        os.mkfifo(bundle / name)
        assert node.refusal(bundle).reason == "file_special", name
        (bundle / name).unlink()
        (bundle / name).write_bytes(kept)


def test_extra_pipe_and_socket_are_refused(
    node: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(bundle / "pipe")
    assert node.refusal(bundle).reason == "file_special"
    (bundle / "pipe").unlink()
    monkeypatch.chdir(bundle)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert node.refusal(bundle).reason == "file_special"


def test_folder_in_the_place_of_a_file_is_refused(node: Any, bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").mkdir()
    assert node.refusal(bundle).reason in {"folder_unknown", "file_special"}


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", "a/../../b", "a//b", "./a", "a\\b", "", ".", "a/"]
)
def test_signed_manifest_that_names_a_path_outside_is_refused(
    node: Any, bundle: Path, sign_again: Callable[[Path], None], path: str
) -> None:
    (node.folder / "outside").write_bytes(b"")
    manifest = bundle / "manifest.json"
    value = json.loads(manifest.read_text())
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    value["files"][path] = {"sha256": empty, "bytes": 0}
    manifest.write_text(json.dumps(value))
    sign_again(bundle)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "manifest_invalid")


def test_huge_manifest_is_refused_unread(node: Any, bundle: Path) -> None:
    os.truncate(bundle / "manifest.json", 8 << 30)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "file_too_large")


def test_huge_file_of_holes_is_refused_unread(node: Any, bundle: Path) -> None:
    os.truncate(bundle / "model.onnx", 1 << 40)
    assert node.refusal(bundle).reason == "size_mismatch"
