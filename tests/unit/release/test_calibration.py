"""expected.json: exact round trip, and nothing impossible gets in."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import BundleError
from sightloop.release.bundle import verify_bundle
from sightloop.release.calibration import (
    Expected,
    FrameExpectation,
    expected_from_bytes,
    expected_to_bytes,
    load_calibration,
)
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.detections import Detections, Labels

_pixels = st.floats(0, 100, width=32)


def _frame(name: str, edges: list[float], *, detections: bool = True) -> FrameExpectation:
    box = np.array([sorted(edges[:2]) + sorted(edges[2:])], np.float32)[:, [0, 2, 1, 3]]
    classes = np.zeros(1, np.int64)
    found = Detections(box, np.array([0.1], np.float32), classes) if detections else None
    return FrameExpectation(name, 100, 100, Labels(box, classes), found)


@given(st.lists(_pixels, min_size=4, max_size=4))
def test_float32_values_survive_bit_for_bit(edges: list[float]) -> None:
    frame = _frame("a.png", edges)
    read = expected_from_bytes(expected_to_bytes(Expected((frame,))), class_count=1).frames[0]
    assert read.labels.boxes.tobytes() == frame.labels.boxes.tobytes()
    assert read.detections is not None
    assert frame.detections is not None
    assert read.detections.scores.tobytes() == frame.detections.scores.tobytes()


def test_source_is_the_checkpoint_only_if_every_frame_has_its_detections() -> None:
    with_it, without = _frame("a", [1, 2, 3, 4]), _frame("b", [1, 2, 3, 4], detections=False)
    assert Expected((with_it,)).source == "checkpoint"
    assert Expected((without,)).source == "labels"
    assert Expected(()).source == "labels"
    with pytest.raises(BundleError):
        _ = Expected((with_it, without)).source


def _spoil(path: str, value: object) -> bytes:
    document: Any = json.loads(expected_to_bytes(Expected((_frame("a.png", [1, 2, 3, 4]),))))
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "other"),
        ("frames.0.frame", "../a.png"),
        ("frames.0.frame", ""),
        ("frames.0.frame", ".tmp"),
        ("frames.0.width_px", 0),
        ("frames.0.unknown", 1),
        ("frames.0.labels.boxes.0", [0, 0, 200, 10]),
        ("frames.0.labels.boxes.0", [0, 0, 10]),
        ("frames.0.labels.boxes.0", [10, 0, 5, 10]),
        ("frames.0.labels.classes", [1]),
        ("frames.0.labels.classes", [-1]),
        ("frames.0.labels.classes", []),
        ("frames.0.detections.scores", [1.5]),
        ("frames.0.detections.scores", []),
        ("frames.0.detections.boxes.0.0", "NaN"),
    ],
)
def test_impossible_value_is_refused(path: str, value: object) -> None:
    with pytest.raises(BundleError) as caught:
        expected_from_bytes(_spoil(path, value), class_count=1)
    assert caught.value.reason == "expected_invalid"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        expected_from_bytes(data, class_count=1)


def test_frame_named_twice_is_refused() -> None:
    frame = _frame("a.png", [1, 2, 3, 4])
    with pytest.raises(BundleError, match="twice"):
        expected_from_bytes(expected_to_bytes(Expected((frame, copy.copy(frame)))), class_count=1)


def test_calibration_set_is_held_against_the_manifest_when_it_is_read(tmp_path: Path) -> None:
    build_tiny_release(tmp_path / "b", semver="1.0.0", key=create_key(tmp_path / "k"), frames=2)
    bundle = verify_bundle(tmp_path / "b", load_trust(tmp_path / "k"))
    read = load_calibration(bundle)
    assert [f"calibration/frames/{expected.frame}" for _, expected in read] == list(
        bundle.manifest.calibration.frames
    )
    (bundle.folder / bundle.manifest.calibration.frames[0]).write_bytes(b"changed since")
    with pytest.raises(BundleError):
        load_calibration(bundle)
