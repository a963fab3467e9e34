"""Run candidate and champion on calibration frames: every frame answered once, every run timed.

The gates `behaviour` and `latency` share these runs. The champion runs in turns with the candidate
(times of other moments are not comparable), on no more frames than the comparison needs: what it
answers on its own frames is mostly known from its own trial. What is known is held against every
run that is made anyway, and one bit of difference throws all of it away. Nothing is judged here.

Two threads may share the work: one runs the pairs, the other runs the candidate alone, and each
takes the frames from its own end. Which frames decide what does not depend on who was faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from threading import Lock
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
    threads: int = 1,
) -> Replay:
    """Run everything that is to be judged.

    Args:
        candidate: Loaded and warm.
        calibration: Its own frames.
        opponent: The champion; None for a first release.
        race: Empty; is told the times and says when there are enough.
        stopwatch: Where the times come from.
        threads: 1, or 2 where two runs of the candidate at a time disturb neither each other nor
            the stopwatch: on the CPU, one thread a run.

    Raises:
        BackendError: The candidate failed, or gave what is no number (output_not_finite).
        ChampionUnusableError: The champion cannot be loaded or run.
        ImageError: A calibration frame does not decode.
    """
    runs = _Runs(candidate, opponent, race, stopwatch, _plan(calibration, opponent))
    with ExitStack() as stack:
        pairs = _begun(runs.pairs, stack) if threads > 1 else None
        if pairs is None:
            runs.pairs()
        runs.alone()
    if pairs is not None:
        pairs.result()
    return runs.result()


def _begun(work: Callable[[], None], stack: ExitStack) -> Future[None] | None:
    """Begin on a second thread; None where the memory bound of a trial leaves no room for one."""
    second = stack.enter_context(ThreadPoolExecutor(1, "gates"))
    try:
        return second.submit(work)
    except RuntimeError:
        return None


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
    """Every frame of both sets once; those with most labels are at the two ends."""
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
    visits.sort(key=lambda visit: -visit.labels)
    return visits[0::2] + visits[1::2][::-1]


@dataclass(slots=True)
class _Runs:
    """The runs of one trial, as they are made. `pairs` and `alone` may run at the same time.

    Each frame is claimed by one of them. Only `pairs` touches the champion and the race, only
    `alone` the swapped colours.
    """

    candidate: Judged
    opponent: Opponent | None
    race: Race
    stopwatch: Stopwatch
    visits: Sequence[_Visit]
    answers: dict[str, Detections] = field(default_factory=dict)
    computed: dict[str, Detections] = field(default_factory=dict)
    known: Answers = field(default_factory=dict)
    colours: ColourEvidence | None = None
    candidate_ns: list[tuple[int, int]] = field(default_factory=list)
    champion_runs: int = 0
    champion: Judged | None = None
    claimed: set[str] = field(default_factory=set)
    claiming: Lock = field(default_factory=Lock)
    failed: bool = False

    def __post_init__(self) -> None:
        manifest = self.candidate.manifest
        if manifest.calibration.expected_from != "checkpoint":
            self.colours = ColourEvidence(0, 0)
        if self.opponent is not None:
            self.known = self.opponent.known

    def pairs(self) -> None:
        """Run the pairs, and the champion where its answer is unknown; then help with the rest."""
        with self._stopping_both():
            try:
                for visit in self._unclaimed(reversed(self.visits)):
                    if self._race_goes_on or any(map(self._unknown, self.visits)):
                        self._run_both(visit)
                    else:
                        self._close_champion()
                        self._run_alone(visit)
                for visit in cycle(self.visits):  # fewer frames than the comparison needs
                    if not self._race_goes_on:
                        break
                    self._run_both(visit)
                for visit in self.visits:  # last: a pair may have thrown away what was known
                    if self._unknown(visit) and not self.failed:
                        self._hold_champion(visit, self._run_champion(visit.decode())[0])
            finally:
                self._close_champion()

    def alone(self) -> None:
        """Run the candidate with swapped colours as long as that is open, then without."""
        with self._stopping_both():
            for visit in self.visits:
                if self.colours is None or self.colours.settled or self.failed:
                    break
                if visit.ours is not None:
                    self._swap(visit, visit.ours)
            for visit in self._unclaimed(self.visits):
                self._run_alone(visit)

    @contextmanager
    def _stopping_both(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.failed = True
            raise

    @property
    def _race_goes_on(self) -> bool:
        return self.opponent is not None and self.race.goes_on and not self.failed

    def _unclaimed(self, visits: Iterable[_Visit]) -> Iterator[_Visit]:
        return (visit for visit in visits if self._claim(visit))

    def _claim(self, visit: _Visit) -> bool:
        with self.claiming:
            free = not self.failed and visit.key not in self.claimed
            self.claimed.add(visit.key)
        return free

    def _unknown(self, visit: _Visit) -> bool:
        """Whether it is still open what the champion answers on a frame of its own."""
        return visit.theirs is not None and not (
            visit.key in self.known or visit.key in self.computed
        )

    def _run_alone(self, visit: _Visit) -> None:
        self.answers[visit.key] = self._run_candidate(visit.decode())[0]

    def _run_both(self, visit: _Visit) -> None:
        frame = visit.decode()
        self._open_champion(frame)
        if self.race.candidate_begins:
            found, ours = self._run_candidate(frame)
            theirs, its = self._run_champion(frame)
        else:
            theirs, its = self._run_champion(frame)
            found, ours = self._run_candidate(frame)
        self.answers[visit.key] = found
        self.race.add(candidate_ns=ours, champion_ns=its)
        self._hold_champion(visit, theirs)

    def _hold_champion(self, visit: _Visit, found: Detections) -> None:
        if visit.theirs is not None:
            self.computed[visit.key] = found
            if not _same(self.known.get(visit.key, found), found):
                self.known = {}

    def _open_champion(self, frame: NDArray[np.uint8]) -> None:
        """Load it; one run, not counted, comes first: caches and arenas are then as in service."""
        if self.champion is not None:
            return
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
        self._open_champion(frame)
        assert self.champion is not None, "opened above"
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

    def _swap(self, visit: _Visit, expected: FrameExpectation) -> None:
        assert self.colours is not None, "asked by the caller"
        frame = visit.decode()
        # The other thread may be at it: an answer of one's own is the same, without a wait.
        if self._claim(visit) or visit.key not in self.answers:
            self.answers[visit.key] = self._run_candidate(frame)[0]
        swapped, _ = self._run_candidate(swap_colours(frame))
        iou = self.candidate.manifest.calibration.tolerances.match_iou
        triple = (expected, self.answers[visit.key], swapped)
        self.colours = self.colours + compare_colours([triple], iou=iou)

    def _close_champion(self) -> None:
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
