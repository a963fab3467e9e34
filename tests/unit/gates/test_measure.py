"""What is run, and how often; the sums are tested in test_evidence.py."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.errors import ModelContractError
from sightloop.gates.behaviour import check_behaviour
from sightloop.gates.measure import measure_behaviour
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.calibration import load_calibration
from sightloop.release.manifest import Manifest
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_png
from sightloop.vision.detections import Detections


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    build_tiny_release(folder / "b", semver="1.0.0", key=key, frames=6)
    return verify_bundle(folder / "b", load_trust(folder / "keys"))


class _Counted:
    """A release that counts its runs and sees the frames as `view` shows them."""

    def __init__(self, release: LoadedRelease, *, mirrored: bool = False) -> None:
        self._release = release
        self._mirrored = mirrored
        self.runs = 0

    @property
    def manifest(self) -> Manifest:
        return self._release.manifest

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        self.runs += 1
        seen = np.ascontiguousarray(frame[:, ::-1]) if self._mirrored else frame
        return self._release.detect(seen, score_threshold=score_threshold)


def _open(bundle: Bundle) -> LoadedRelease:
    return load_release(bundle.folder, bundle.manifest, bundle.digest)


def test_each_frame_is_answered_once_by_each(bundle: Bundle) -> None:
    candidate, champion = _Counted(_open(bundle)), _Counted(_open(bundle))
    calibration = load_calibration(bundle)
    evidence = measure_behaviour(candidate, calibration, champion, calibration)
    assert (candidate.runs, champion.runs) == (6, 6)
    assert evidence.frames == 6
    assert evidence.checkpoint is not None
    assert evidence.checkpoint.recall == 1.0


def test_champion_of_other_classes_is_not_compared_with(bundle: Bundle) -> None:
    champion = _Counted(_open(bundle))
    other = champion.manifest.model_copy(update={"classes": ("pit", "dent")})
    champion._release.manifest = other
    calibration = load_calibration(bundle)
    evidence = measure_behaviour(_Counted(_open(bundle)), calibration, champion, calibration)
    assert evidence.champion is None
    assert champion.runs == 0


def test_detector_that_sees_a_mirrored_picture_is_refused(bundle: Bundle) -> None:
    candidate = _Counted(_open(bundle), mirrored=True)
    assert not check_behaviour(candidate, load_calibration(bundle)).passed


def test_frame_of_another_size_than_expected_is_refused(bundle: Bundle) -> None:
    (_, expected), *_ = load_calibration(bundle)
    small = encode_png(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ModelContractError):
        measure_behaviour(_open(bundle), [(small, expected)], None, ())
    verdict = check_behaviour(_open(bundle), [(small, expected)])
    assert (verdict.outcome.value, verdict.reason) == ("FAIL", "frame_size_differs")


def test_frame_that_does_not_decode_is_refused(bundle: Bundle) -> None:
    (_, expected), *_ = load_calibration(bundle)
    verdict = check_behaviour(_open(bundle), [(b"no image", expected)])
    assert (verdict.outcome.value, verdict.reason) == ("FAIL", "image_undecodable")
