"""What a candidate and the champion answered on calibration frames becomes evidence.

Nothing is run here (`replay.py` does), and nothing is judged: bounds and verdicts are in
`behaviour.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightloop.gates.evidence import (
    Agreement,
    Offsets,
    Slack,
    above,
    against_detections,
    against_labels,
)
from sightloop.gates.label_evidence import ColourEvidence, find_exchange, usual_names
from sightloop.gates.replay import (
    Answers,
    CalibrationSet,
    Opponent,
    Replay,
    slack_of,
)
from sightloop.release.calibration import FrameExpectation
from sightloop.release.manifest import Manifest
from sightloop.vision.detections import Detections


@dataclass(frozen=True, slots=True, eq=False)
class ChampionEvidence:
    """Candidate beside champion.

    Attributes:
        candidate: The candidate on the labels of the champion's frames.
        champion: The champion on the same.
        paired: Offsets of the candidate's boxes against the champion's, on the same.
    """

    candidate: Agreement
    champion: Agreement
    paired: Offsets


@dataclass(frozen=True, slots=True)
class SelfEvidence:
    """The candidate beside itself, where labels are all there is.

    Attributes:
        colours: On frames as they are and with red and blue swapped.
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


def measure_behaviour(
    manifest: Manifest, calibration: CalibrationSet, opponent: Opponent | None, replay: Replay
) -> Evidence:
    """Hold what was answered against what is expected.

    Args:
        manifest: The candidate's.
        calibration: The candidate's own frames.
        opponent: The champion.
        replay: What both have answered.
    """
    tolerances = manifest.calibration.tolerances
    slack = slack_of(manifest)
    side = manifest.preprocess.side_px
    found = _found(calibration, replay.candidate)
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
    labels = against_labels(
        found, side_px=side, iou=tolerances.match_iou, threshold=slack.threshold
    )
    itself = None
    if replay.colours is not None:
        itself = SelfEvidence(replay.colours, _exchanged(manifest, found))
    compared = None
    if opponent is not None and opponent.manifest.classes == manifest.classes:
        compared = _beside_champion(manifest, opponent, replay)
    return Evidence(len(calibration), checkpoint, labels, itself, compared)


def _found(
    calibration: CalibrationSet, answers: Answers
) -> list[tuple[FrameExpectation, Detections]]:
    return [(frame.expected, answers[frame.key]) for frame in calibration]


def _exchanged(
    manifest: Manifest, found: Sequence[tuple[FrameExpectation, Detections]]
) -> tuple[str, ...]:
    """Names of classes that are given each other's names."""
    threshold = manifest.thresholds.score
    names = usual_names(
        [(expected, above(answer, threshold)) for expected, answer in found],
        iou=manifest.calibration.tolerances.match_iou,
    )
    return tuple(manifest.classes[index] for index in find_exchange(names))


def _beside_champion(ours: Manifest, opponent: Opponent, replay: Replay) -> ChampionEvidence:
    """Both on the champion's own frames."""
    theirs = opponent.manifest
    iou = ours.calibration.tolerances.match_iou
    side = ours.preprocess.side_px
    mine = _found(opponent.calibration, replay.candidate)
    its = _found(opponent.calibration, replay.champion)
    paired = against_detections(
        [
            (expected, above(champions, theirs.thresholds.score), candidates)
            for (expected, champions), (_, candidates) in zip(its, mine, strict=True)
        ],
        side_px=side,
        iou=iou,
        slack=Slack(ours.thresholds.score, 0.0),
    )
    return ChampionEvidence(
        candidate=against_labels(mine, side_px=side, iou=iou, threshold=ours.thresholds.score),
        champion=against_labels(its, side_px=side, iou=iou, threshold=theirs.thresholds.score),
        paired=paired.offsets,
    )
