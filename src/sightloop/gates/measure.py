"""Run a candidate, and the champion beside it, on calibration frames: answers become evidence.

Every image is decoded once and answered once by each detector. Nothing is judged here: bounds and
verdicts are in `behaviour.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import ModelContractError
from sightloop.gates.evidence import (
    Agreement,
    Offsets,
    Slack,
    above,
    against_detections,
    against_labels,
)
from sightloop.gates.label_evidence import (
    ColourEvidence,
    compare_colours,
    find_exchange,
    swap_colours,
    usual_names,
)
from sightloop.release.calibration import FrameExpectation
from sightloop.release.manifest import Manifest
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Detections

CalibrationSet = Sequence[tuple[bytes, FrameExpectation]]


class Judged(Protocol):
    """A loaded release, as far as this gate needs one."""

    @property
    def manifest(self) -> Manifest:
        """What it says of itself."""

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        """Detect in one frame, (H, W, 3) uint8 RGB; boxes in frame px."""


@dataclass(frozen=True, slots=True, eq=False)
class ChampionEvidence:
    """Candidate beside champion.

    Attributes:
        candidate: The candidate on the labels of the champion's frames.
        champion: The champion on the same.
        paired: Offsets of the candidate's boxes against the champion's, on the frames of both.
    """

    candidate: Agreement
    champion: Agreement
    paired: Offsets


@dataclass(frozen=True, slots=True)
class SelfEvidence:
    """The candidate beside itself, where labels are all there is.

    Attributes:
        colours: On the frames as they are and with red and blue swapped.
        exchanged: Names of classes that are given each other's names; empty if none are.
    """

    colours: ColourEvidence
    exchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was measured.

    Attributes:
        frames: Calibration frames of the candidate's release.
        checkpoint: Against the checkpoint's detections; None where there are none.
        labels: Against what people marked.
        itself: None where there is a checkpoint, which sees the same faults and more.
        champion: None without a champion of the same classes.
    """

    frames: int
    checkpoint: Agreement | None
    labels: Agreement
    itself: SelfEvidence | None = None
    champion: ChampionEvidence | None = None


class _Answers:
    """A detector's answers, each image answered once."""

    def __init__(self, detector: Judged, score_threshold: float) -> None:
        self._detector = detector
        self._threshold = score_threshold
        self._known: dict[bytes, Detections] = {}

    def on(self, image: bytes, expected: FrameExpectation) -> Detections:
        key = hashlib.sha256(image).digest()
        if key not in self._known:
            frame = decode_image(image)
            if frame.shape[:2] != (expected.height_px, expected.width_px):
                raise ModelContractError(
                    f"calibration frame {expected.frame}: expected {expected.width_px} x "
                    f"{expected.height_px} px as in expected.json, found {frame.shape[1]} x "
                    f"{frame.shape[0]}; build the release again",
                    "frame_size_differs",
                )
            self._known[key] = self._detector.detect(frame, score_threshold=self._threshold)
        return self._known[key]

    def with_swapped_colours(self, image: bytes) -> Detections:
        frame = swap_colours(decode_image(image))
        return self._detector.detect(frame, score_threshold=self._threshold)

    def over(self, calibration: CalibrationSet) -> Iterator[tuple[FrameExpectation, Detections]]:
        for image, expected in calibration:
            yield expected, self.on(image, expected)


def measure_behaviour(
    candidate: Judged,
    calibration: CalibrationSet,
    champion: Judged | None,
    champion_calibration: CalibrationSet,
) -> Evidence:
    """Run everything that is to be judged.

    Raises:
        BackendError: A network failed, or gave what is no number (output_not_finite).
        ImageError: A calibration frame does not decode.
    """
    manifest = candidate.manifest
    tolerances = manifest.calibration.tolerances
    threshold = manifest.thresholds.score
    slack = Slack(threshold, tolerances.score_difference_max)
    side = manifest.preprocess.side_px
    answers = _Answers(candidate, slack.low)
    found = list(answers.over(calibration))
    checkpoint = None
    if manifest.calibration.expected_from == "checkpoint":
        checkpoint = against_detections(
            [
                (frame, frame.detections, answer)
                for frame, answer in found
                if frame.detections is not None
            ],
            side_px=side,
            iou=tolerances.match_iou,
            slack=slack,
        )
    labels = against_labels(found, side_px=side, iou=tolerances.match_iou, threshold=threshold)
    itself = None if checkpoint is not None else _beside_itself(answers, manifest, calibration)
    compared = None
    if champion is not None and champion.manifest.classes == manifest.classes:
        compared = _beside_champion(answers, candidate, champion, calibration, champion_calibration)
    return Evidence(len(calibration), checkpoint, labels, itself, compared)


def _beside_itself(
    answers: _Answers, manifest: Manifest, calibration: CalibrationSet
) -> SelfEvidence:
    iou = manifest.calibration.tolerances.match_iou
    triples = [
        (expected, answers.on(image, expected), answers.with_swapped_colours(image))
        for image, expected in calibration
    ]
    threshold = manifest.thresholds.score
    found = [(expected, above(answer, threshold)) for expected, answer, _ in triples]
    ring = find_exchange(usual_names(found, iou=iou))
    return SelfEvidence(
        colours=compare_colours(triples, iou=iou),
        exchanged=tuple(manifest.classes[index] for index in ring),
    )


def _beside_champion(
    answers: _Answers,
    candidate: Judged,
    champion: Judged,
    calibration: CalibrationSet,
    champion_calibration: CalibrationSet,
) -> ChampionEvidence:
    ours, theirs = candidate.manifest, champion.manifest
    iou = ours.calibration.tolerances.match_iou
    side = ours.preprocess.side_px
    champions = _Answers(champion, theirs.thresholds.score)
    unique = {
        hashlib.sha256(item[0]).digest(): item for item in (*calibration, *champion_calibration)
    }
    paired = against_detections(
        [
            (expected, champions.on(image, expected), answers.on(image, expected))
            for image, expected in unique.values()
        ],
        side_px=side,
        iou=iou,
        slack=Slack(ours.thresholds.score, 0.0),
    )
    return ChampionEvidence(
        candidate=against_labels(
            answers.over(champion_calibration),
            side_px=side,
            iou=iou,
            threshold=ours.thresholds.score,
        ),
        champion=against_labels(
            champions.over(champion_calibration),
            side_px=side,
            iou=iou,
            threshold=theirs.thresholds.score,
        ),
        paired=paired.offsets,
    )
