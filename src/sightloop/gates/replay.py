"""Run candidate and champion on calibration frames: every frame decoded once, every run timed.

The gates `behaviour` and `latency` share these runs. The champion runs in turns with the candidate
(times of other moments are not comparable), on no more frames than the comparison needs: what it
answers on its own frames is mostly known from its own trial. What is known is held against every
run that is made anyway, and one bit of difference throws all of it away. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import BackendError, ChampionUnusableError, ModelContractError
from sightloop.gates.evidence import Slack
from sightloop.gates.label_evidence import ColourEvidence, compare_colours, swap_colours
from sightloop.gates.latency import Race, Stopwatch, Timings, timings_of
from sightloop.release.bundle import Bundle
from sightloop.release.calibration import FrameExpectation, load_calibration
from sightloop.release.manifest import FRAMES_FOLDER, Manifest
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Detections

Answers = Mapping[str, Detections]
"""Detections in frame px from `answer_threshold` on, by the frame's key."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationFrame:
    """One frame of a release's calibration set.

    Attributes:
        key: SHA-256 of the image file: the same picture in two sets has the same.
        image: The file's bytes.
        expected: What is to be found in it.
    """

    key: str
    image: bytes
    expected: FrameExpectation


CalibrationSet = Sequence[CalibrationFrame]


class Judged(Protocol):
    """A loaded release, as far as the gates need one."""

    @property
    def manifest(self) -> Manifest:
        """What it says of itself."""

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        """Detect in one frame, (H, W, 3) uint8 RGB; boxes in frame px."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True, slots=True, eq=False)
class Opponent:
    """The champion, as far as a trial needs it.

    Attributes:
        manifest: What it says of itself.
        calibration: Its own frames.
        known: What it answered on them in its own trial; empty where that is not known.
        open: Loads it. `BackendError` where it does not load.
    """

    manifest: Manifest
    calibration: CalibrationSet
    known: Answers
    open: Callable[[], Judged]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What was answered, and how long it took.

    Attributes:
        candidate: On its own frames and on the champion's.
        champion: On the champion's frames; empty without a champion.
        colours: The candidate beside itself with red and blue swapped; None where a checkpoint's
            detections say more.
        race: The times of pairs of runs.
        alone: The times of every run of the candidate.
        candidate_runs: Frames that the candidate was run on.
        champion_runs: Frames that the champion was run on.
        champion_computed: Whether `champion` holds nothing but what was computed now.
    """

    candidate: Answers
    champion: Answers
    colours: ColourEvidence | None
    race: Race
    alone: Timings
    candidate_runs: int
    champion_runs: int
    champion_computed: bool


def answer_threshold(manifest: Manifest) -> float:
    """From this score on a release's answers on calibration frames are of interest."""
    return slack_of(manifest).low


def slack_of(manifest: Manifest) -> Slack:
    """Room around a release's operating threshold."""
    return Slack(manifest.thresholds.score, manifest.calibration.tolerances.score_difference_max)


def calibration_of(bundle: Bundle) -> CalibrationSet:
    """A verified bundle's calibration set.

    Raises:
        BundleError: As `load_calibration`.
    """
    files = bundle.manifest.files
    return tuple(
        CalibrationFrame(files[f"{FRAMES_FOLDER}/{expected.frame}"].sha256, image, expected)
        for image, expected in load_calibration(bundle)
    )


def replay(
    candidate: Judged,
    calibration: CalibrationSet,
    opponent: Opponent | None,
    *,
    race: Race,
    stopwatch: Stopwatch,
) -> Replay:
    """Run everything that is to be judged.

    Args:
        candidate: Loaded and warm.
        calibration: Its own frames.
        opponent: The champion; None for a first release.
        race: Empty; is told the times and says when there are enough.
        stopwatch: Where the times come from.

    Raises:
        BackendError: The candidate failed, or gave what is no number (output_not_finite).
        ChampionUnusableError: The champion cannot be loaded or run.
        ImageError: A calibration frame does not decode.
    """
    visits = _plan(calibration, opponent)
    runs = _Runs(candidate, opponent, race, stopwatch)
    try:
        for number, visit in enumerate(visits):
            runs.visit(visit, rest=visits[number:])
        for visit in cycle(visits):  # fewer frames than the comparison needs
            if not runs.race_goes_on:
                break
            runs.visit_again(visit)
    finally:
        runs.close_champion()
    return runs.result()


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One frame, and what each release expects in it."""

    key: str
    image: bytes
    ours: FrameExpectation | None
    theirs: FrameExpectation | None

    @property
    def labels(self) -> int:
        return max(len(one.labels) for one in (self.ours, self.theirs) if one is not None)

    def decode(self) -> NDArray[np.uint8]:
        frame = decode_image(self.image)
        for expected in (self.ours, self.theirs):
            if expected is not None and frame.shape[:2] != (expected.height_px, expected.width_px):
                raise ModelContractError(
                    f"calibration frame {expected.frame}: expected {expected.width_px} x "
                    f"{expected.height_px} px as in expected.json, found {frame.shape[1]} x "
                    f"{frame.shape[0]}; build the release again",
                    "frame_size_differs",
                )
        return frame


def _plan(calibration: CalibrationSet, opponent: Opponent | None) -> list[_Visit]:
    """Every frame of both sets once: the champion's first, and those with most labels first."""
    ours = {frame.key: frame for frame in calibration}
    theirs = {frame.key: frame for frame in (opponent.calibration if opponent else ())}
    visits = [
        _Visit(
            key,
            frame.image,
            ours=ours[key].expected if key in ours else None,
            theirs=theirs[key].expected if key in theirs else None,
        )
        for key, frame in (theirs | ours).items()
    ]
    return sorted(visits, key=lambda visit: (visit.theirs is None, -visit.labels))


@dataclass(slots=True)
class _Runs:
    """The runs of one trial, as they are made."""

    candidate: Judged
    opponent: Opponent | None
    race: Race
    stopwatch: Stopwatch
    answers: dict[str, Detections] = field(default_factory=dict)
    computed: dict[str, Detections] = field(default_factory=dict)
    known: Answers = field(default_factory=dict)
    colours: ColourEvidence | None = None
    candidate_ns: list[tuple[int, int]] = field(default_factory=list)
    champion_runs: int = 0
    champion: Judged | None = None

    def __post_init__(self) -> None:
        manifest = self.candidate.manifest
        if manifest.calibration.expected_from != "checkpoint":
            self.colours = ColourEvidence(0, 0)
        if self.opponent is not None:
            self.known = self.opponent.known

    @property
    def race_goes_on(self) -> bool:
        return self.opponent is not None and self.race.goes_on

    def visit(self, visit: _Visit, *, rest: Sequence[_Visit]) -> None:
        """Run on one frame who has to; `rest` are this frame and those still to come."""
        frame = visit.decode()
        if self.race_goes_on or any(self._unknown(later) for later in rest):
            self._run_both(visit, frame)
        else:
            self.close_champion()
            self.answers[visit.key] = self._run_candidate(frame)[0]
        if self.colours is not None and visit.ours is not None and not self.colours.settled:
            self._swap(visit, visit.ours, frame)

    def visit_again(self, visit: _Visit) -> None:
        """One more pair of times on a frame that both have answered."""
        self._run_both(visit, visit.decode())

    def _unknown(self, visit: _Visit) -> bool:
        """Whether it is still open what the champion answers on a frame of its own."""
        return visit.theirs is not None and not (
            visit.key in self.known or visit.key in self.computed
        )

    def _run_both(self, visit: _Visit, frame: NDArray[np.uint8]) -> None:
        if self.champion is None:
            self._open_champion(frame)
        if self.race.candidate_begins:
            found, ours = self._run_candidate(frame)
            theirs, its = self._run_champion(frame)
        else:
            theirs, its = self._run_champion(frame)
            found, ours = self._run_candidate(frame)
        self.answers[visit.key] = found
        self.race.add(candidate_ns=ours, champion_ns=its)
        if visit.theirs is not None:
            self.computed[visit.key] = theirs
            if not _same(self.known.get(visit.key, theirs), theirs):
                self.known = {}

    def _open_champion(self, frame: NDArray[np.uint8]) -> None:
        """Load it; one run, not counted, comes first: caches and arenas are then as in service."""
        assert self.opponent is not None, "asked by the caller"
        try:
            self.champion = self.opponent.open()
        except BackendError as error:
            raise ChampionUnusableError(error.message, error.reason) from error
        self._run_champion(frame)

    def _run_candidate(self, frame: NDArray[np.uint8]) -> tuple[Detections, tuple[int, int]]:
        found, times = self._timed(self.candidate, frame)
        self.candidate_ns.append(times)
        return found, times

    def _run_champion(self, frame: NDArray[np.uint8]) -> tuple[Detections, tuple[int, int]]:
        assert self.champion is not None, "opened by the caller"
        self.champion_runs += 1
        try:
            return self._timed(self.champion, frame)
        except BackendError as error:
            raise ChampionUnusableError(error.message, error.reason) from error

    def _timed(
        self, detector: Judged, frame: NDArray[np.uint8]
    ) -> tuple[Detections, tuple[int, int]]:
        threshold = answer_threshold(detector.manifest)
        wall_ns, cpu_ns = self.stopwatch.wall_ns(), self.stopwatch.cpu_ns()
        found = detector.detect(frame, score_threshold=threshold)
        cpu_ns = self.stopwatch.cpu_ns() - cpu_ns
        return found, (cpu_ns, self.stopwatch.wall_ns() - wall_ns)

    def _swap(self, visit: _Visit, expected: FrameExpectation, frame: NDArray[np.uint8]) -> None:
        assert self.colours is not None, "asked by the caller"
        swapped, _ = self._run_candidate(swap_colours(frame))
        iou = self.candidate.manifest.calibration.tolerances.match_iou
        triple = (expected, self.answers[visit.key], swapped)
        self.colours = self.colours + compare_colours([triple], iou=iou)

    def close_champion(self) -> None:
        if self.champion is not None:
            champion, self.champion = self.champion, None
            champion.close()

    def result(self) -> Replay:
        theirs = self.opponent.calibration if self.opponent else ()
        champion = {**self.known, **self.computed}
        keys = {frame.key for frame in theirs}
        return Replay(
            candidate=self.answers,
            champion={key: champion[key] for key in keys},
            colours=self.colours,
            race=self.race,
            alone=timings_of(self.candidate_ns),
            candidate_runs=len(self.candidate_ns),
            champion_runs=self.champion_runs,
            champion_computed=bool(keys) and keys <= set(self.computed),
        )


def _same(one: Detections, other: Detections) -> bool:
    """Whether two answers are equal bit by bit."""
    return (
        np.array_equal(one.boxes, other.boxes)
        and np.array_equal(one.scores, other.scores)
        and np.array_equal(one.classes, other.classes)
    )
