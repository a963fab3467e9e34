from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from sightloop.release.bundle import read_bundle, verify_bundle
from sightloop.release.calibration import load_calibration
from sightloop.release.signing import TrustStore, create_key
from sightloop.runtime.loaded_release import load_release
from sightloop.testing.bad_models import wrong_answers
from sightloop.testing.tiny_detectors import (
    VARIANTS,
    TinyNetwork,
    build_tiny_detector,
    build_tiny_release,
    expected_detections,
    render_plate,
)
from sightloop.vision.average_precision import evaluate
from sightloop.vision.matching import iou_matrix


def test_detector_finds_pits_and_spots_well(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    build_tiny_release(tmp_path / "r", semver="1.0.0", key=key, frames=1)
    bundle = read_bundle(tmp_path / "r")
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    plates = [render_plate(seed) for seed in range(60)]
    found = [release.detect(frame, score_threshold=0.001) for frame, _ in plates]
    report = evaluate([labels for _, labels in plates], found, 2)
    assert min(value for value in report.ap50 if value is not None) >= 0.95


def test_channels_in_another_order_lose_the_spots() -> None:
    network = TinyNetwork()
    for seed in range(10):
        frame, labels = render_plate(seed)
        found = expected_detections(np.ascontiguousarray(frame[..., ::-1]), network)
        assert (labels.classes == 1).any()
        assert not (found.classes == 1).any()


def test_variants_differ_on_every_frame_and_all_are_right() -> None:
    for seed in range(10):
        frame, labels = render_plate(seed)
        answers = [expected_detections(frame, TinyNetwork(variant=v)) for v in range(VARIANTS)]
        for one, other in itertools.pairwise(answers):
            assert one.classes.tolist() == other.classes.tolist()
            assert np.abs(one.boxes - other.boxes).max() > 0.05
            assert np.abs(one.scores - other.scores).min() > 0.002
        for answer in answers:
            assert len(answer) == len(labels)
            assert iou_matrix(labels.boxes, answer.boxes).max(axis=1).min() > 0.5


def test_tiny_release_is_whole_and_signed(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    digest = build_tiny_release(tmp_path / "r", semver="2.1.0", key=key, variant=2, frames=3)
    bundle = verify_bundle(tmp_path / "r", TrustStore((key.public,)))
    assert bundle.digest == digest
    assert (bundle.manifest.line, bundle.manifest.semver) == ("plate", "2.1.0")
    assert bundle.manifest.calibration.expected_from == "checkpoint"
    for _, expectation in load_calibration(bundle):
        assert len(expectation.labels) > 0
        assert expectation.detections is not None
        assert len(expectation.detections) == len(expectation.labels)


def test_same_release_built_twice_has_the_same_digest(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    first = build_tiny_release(tmp_path / "a", semver="1.0.0", key=key, frames=2)
    again = build_tiny_release(tmp_path / "b", semver="1.0.0", key=key, frames=2)
    other = build_tiny_release(tmp_path / "c", semver="1.0.0", key=key, frames=2, variant=1)
    assert first == again != other


def test_other_weights_leave_the_expected_detections(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    build_tiny_detector(tmp_path / "good.onnx")
    wrong_answers(tmp_path / "good.onnx", tmp_path / "bad.onnx", seed=0)
    bad = tmp_path / "bad.onnx"
    build_tiny_release(tmp_path / "a", semver="1.0.0", key=key, frames=2)
    build_tiny_release(tmp_path / "b", semver="1.0.0", key=key, frames=2, model=bad)
    expected = "calibration/expected.json"
    assert (tmp_path / "a" / expected).read_bytes() == (tmp_path / "b" / expected).read_bytes()
    assert (tmp_path / "b" / "model.onnx").read_bytes() == bad.read_bytes()


@pytest.mark.parametrize(("kind", "index"), [("dark", 0), ("bright", 1)])
def test_release_of_one_kind_is_labelled_with_that_kind(
    tmp_path: Path, kind: str, index: int
) -> None:
    key = create_key(tmp_path / "keys")
    build_tiny_release(tmp_path / "r", semver="1.0.0", key=key, frames=3, kind=kind)  # type: ignore[arg-type]  # a table
    for _, expectation in load_calibration(read_bundle(tmp_path / "r")):
        assert set(expectation.labels.classes.tolist()) == {index}
