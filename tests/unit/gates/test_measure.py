"""Answers become evidence; the sums are tested in test_evidence.py, the runs in test_replay.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.gates.behaviour import judge_behaviour
from sightloop.gates.latency import SYSTEM_STOPWATCH, Race
from sightloop.gates.measure import Evidence, measure_behaviour
from sightloop.gates.replay import CalibrationSet, Judged, Opponent, calibration_of, replay
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import create_key, load_trust
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.detections import Detections


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("release")
    key = create_key(folder / "keys")
    build_tiny_release(folder / "b", semver="1.0.0", key=key, frames=6)
    return verify_bundle(folder / "b", load_trust(folder / "keys"))


class _Mirrored:
    """A release that sees every frame mirrored."""

    def __init__(self, release: LoadedRelease) -> None:
        self._release = release
        self.manifest = release.manifest

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        seen = np.ascontiguousarray(frame[:, ::-1])
        return self._release.detect(seen, score_threshold=score_threshold)

    def close(self) -> None:
        self._release.close()


def _open(bundle: Bundle) -> LoadedRelease:
    return load_release(bundle.folder, bundle.manifest, bundle.digest)


def _evidence(candidate: Judged, own: CalibrationSet, opponent: Opponent | None) -> Evidence:
    found = replay(candidate, own, opponent, race=Race(), stopwatch=SYSTEM_STOPWATCH)
    return measure_behaviour(candidate.manifest, own, opponent, found)


def test_release_agrees_with_its_checkpoint_and_with_itself_as_champion(bundle: Bundle) -> None:
    own = calibration_of(bundle)
    opponent = Opponent(bundle.manifest, own, {}, lambda: _open(bundle))
    evidence = _evidence(_open(bundle), own, opponent)
    assert evidence.frames == 6
    assert evidence.checkpoint is not None
    assert evidence.checkpoint.recall == 1.0
    assert evidence.champion is not None
    assert evidence.champion.candidate.expected_found == evidence.champion.champion.expected_found
    assert evidence.champion.paired.medians_px == (0.0, 0.0)
    assert evidence.champion.paired.edges > 0


def test_champion_of_other_classes_is_not_compared_with(bundle: Bundle) -> None:
    own = calibration_of(bundle)
    other = bundle.manifest.model_copy(update={"classes": ("pit", "dent")})
    evidence = _evidence(_open(bundle), own, Opponent(other, own, {}, lambda: _open(bundle)))
    assert evidence.champion is None


def test_champions_labels_are_those_of_its_own_set(bundle: Bundle) -> None:
    own = calibration_of(bundle)
    none = replace(
        own[0].expected,
        labels=replace(
            own[0].expected.labels,
            boxes=np.zeros((0, 4), np.float32),
            classes=np.zeros(0, np.int64),
        ),
    )
    unlabelled = [replace(own[0], expected=none), *own[1:]]
    opponent = Opponent(bundle.manifest, unlabelled, {}, lambda: _open(bundle))
    evidence = _evidence(_open(bundle), own, opponent)
    assert evidence.champion is not None
    missing = len(own[0].expected.labels)
    assert evidence.champion.candidate.expected == evidence.labels.expected - missing


def test_detector_that_sees_a_mirrored_picture_is_refused(bundle: Bundle) -> None:
    evidence = _evidence(_Mirrored(_open(bundle)), calibration_of(bundle), None)
    tolerances = bundle.manifest.calibration.tolerances
    assert not judge_behaviour(evidence, tolerances).passed
