"""The gate `latency`: what a frame costs on this machine, beside what it costs the champion.

Both run in turn on the calling thread, frame by frame, and the thread's own CPU time is compared:
what else the machine does disturbs neither, or both alike. Wall time is reported; it is judged in
the place of CPU time only where a device does the work (docs/adr/0007).
`replay.py` makes the runs; how many pairs are enough is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sightloop.release.verdict import Measurement, Outcome, Verdict
from sightloop.runtime.compute import Cost
from sightloop.vision.detections import Detections

GATE = "latency"
RATIO_MAX: Final = 1.5
PAIRS_MIN: Final = 6
"""So many pairs that all say the same are enough.

Where the true ratio is the bound itself (either verdict is then right) half of all pairs fall on
either side, and six agree with a chance of 1 in 32; off the bound they agree on the wrong side with
the sixth power of one pair's chance to lie there."""
PAIRS_MAX: Final = 20
"""Pairs where the first ones disagree: then the median decides."""
_TICK_NS: Final = 1
"""The clock may stand still during a very short run: a zero divides nothing."""


Judged = Literal["cpu", "wall"]


class Detector(Protocol):
    """What is timed: preprocessing, network and postprocessing of one frame."""

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        """Detect in one frame."""


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Where the gate's times come from, both in nanoseconds.

    Attributes:
        cpu_ns: CPU time of the calling thread, or of the process.
        wall_ns: Time that passes.
        judged: Which of the two is compared.
    """

    cpu_ns: Callable[[], int] = time.thread_time_ns
    wall_ns: Callable[[], int] = time.perf_counter_ns
    judged: Judged = "cpu"


SYSTEM_STOPWATCH: Final = Stopwatch()
PROCESS_STOPWATCH: Final = Stopwatch(cpu_ns=time.process_time_ns)
"""For a network with threads of its own, in a process that does nothing else meanwhile: the calling
thread sees only its share of the work, and how much that is depends on who else runs."""


STOPWATCHES: Final = {
    Cost.THREAD: SYSTEM_STOPWATCH,
    Cost.PROCESS: PROCESS_STOPWATCH,
    Cost.WALL: Stopwatch(judged="wall"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Timings:
    """Times of one detector, in the order of the runs.

    Attributes:
        cpu_ms: (n,) CPU time of the thread.
        wall_ms: (n,) time that passed.
    """

    cpu_ms: NDArray[np.float64]
    wall_ms: NDArray[np.float64]

    def of(self, judged: Judged) -> NDArray[np.float64]:
        """The times that are compared."""
        return self.cpu_ms if judged == "cpu" else self.wall_ms


@dataclass(slots=True)
class Race:
    """CPU and wall times of candidate and champion on the same frames, in turns.

    Attributes:
        ratio_max: The median of candidate / champion may be at most so much.
        pairs_max: Where the pairs disagree, so many are run.
        judged: Which of the two times is compared.
    """

    ratio_max: float = RATIO_MAX
    pairs_max: int = PAIRS_MAX
    judged: Judged = "cpu"
    _candidate_ns: list[tuple[int, int]] = field(default_factory=list)
    _champion_ns: list[tuple[int, int]] = field(default_factory=list)

    def add(self, *, candidate_ns: tuple[int, int], champion_ns: tuple[int, int]) -> None:
        """One pair, each CPU time and wall time."""
        self._candidate_ns.append(candidate_ns)
        self._champion_ns.append(champion_ns)

    @property
    def candidate_begins(self) -> bool:
        """Who begins changes from pair to pair."""
        return len(self._candidate_ns) % 2 == 0

    @property
    def goes_on(self) -> bool:
        """Whether another pair may change the verdict."""
        pairs = len(self._candidate_ns)
        if pairs < PAIRS_MIN or pairs >= self.pairs_max:
            return pairs < self.pairs_max
        above = self.ratios > self.ratio_max
        return bool(above.any() and not above.all())

    @property
    def ratios(self) -> NDArray[np.float64]:
        """(n,) judged time of the candidate in the champion's, pair by pair."""
        mine, its = self.candidate.of(self.judged), self.champion.of(self.judged)
        tick_ms = _TICK_NS / 1e6
        ratios: NDArray[np.float64] = np.maximum(mine, tick_ms) / np.maximum(its, tick_ms)
        return ratios

    @property
    def candidate(self) -> Timings:
        """The candidate's times."""
        return timings_of(self._candidate_ns)

    @property
    def champion(self) -> Timings:
        """The champion's times on the same frames."""
        return timings_of(self._champion_ns)


def timings_of(runs_ns: Sequence[tuple[int, int]]) -> Timings:
    """Runs of one detector, each CPU time and wall time."""
    table = np.array(runs_ns, np.float64).reshape(-1, 2) / 1e6
    return Timings(cpu_ms=table[:, 0], wall_ms=table[:, 1])


def time_in_turn(
    detectors: Sequence[Detector],
    frames: Sequence[NDArray[np.uint8]],
    *,
    stopwatch: Stopwatch = SYSTEM_STOPWATCH,
) -> list[Timings]:
    """Time every detector on every frame; who begins changes from frame to frame.

    One run each, not counted, comes first: caches and arenas are then as in service.
    """
    for detector in detectors:
        detector.detect(frames[0])
    cpu = np.zeros((len(detectors), len(frames)))
    wall = np.zeros_like(cpu)
    for number, frame in enumerate(frames):
        order = range(len(detectors)) if number % 2 == 0 else reversed(range(len(detectors)))
        for place in order:
            started_wall, started_cpu = stopwatch.wall_ns(), stopwatch.cpu_ns()
            detectors[place].detect(frame)
            cpu[place, number] = stopwatch.cpu_ns() - started_cpu
            wall[place, number] = stopwatch.wall_ns() - started_wall
    return [
        Timings(cpu_ms=cpu[place] / 1e6, wall_ms=wall[place] / 1e6)
        for place in range(len(detectors))
    ]


def judge_latency(race: Race, alone: Timings, *, champion_runs: int = 0) -> Verdict:
    """The verdict on measured times.

    Args:
        race: Candidate and champion in turns; empty for a first release: then the figures are
            given and the verdict is PASS.
        alone: All runs of the candidate.
        champion_runs: All runs of the champion, for the record.
    """
    figures: dict[str, Measurement] = {
        "pairs": len(race.ratios),
        "runs_candidate": len(alone.cpu_ms),
        "runs_champion": champion_runs,
        "candidate_cpu_ms_p50": _median(alone.cpu_ms),
        "candidate_wall_ms_p50": _median(alone.wall_ms),
    }
    unit = "CPU time" if race.judged == "cpu" else "time"
    if not len(race.ratios):
        cost_ms = _median(alone.of(race.judged))
        message = f"{cost_ms:.2f} ms of {unit} a frame; no champion to compare with"
        return Verdict(GATE, Outcome.PASS, "ok", message, figures)
    candidate, champion = race.candidate, race.champion
    ratio = _median(race.ratios)
    figures |= {
        "candidate_cpu_ms_p50": _median(candidate.cpu_ms),
        "candidate_wall_ms_p50": _median(candidate.wall_ms),
        "champion_cpu_ms_p50": _median(champion.cpu_ms),
        "champion_wall_ms_p50": _median(champion.wall_ms),
        f"{race.judged}_ratio": ratio,
        f"{race.judged}_ratio_max": race.ratio_max,
    }
    message = (
        f"expected at most {race.ratio_max:g} x the champion's {unit} a frame, found "
        f"{ratio:.2f} x ({_median(candidate.of(race.judged)):.2f} ms against "
        f"{_median(champion.of(race.judged)):.2f} ms)"
    )
    if ratio > race.ratio_max:
        return Verdict(GATE, Outcome.FAIL, "too_slow", message, figures)
    return Verdict(GATE, Outcome.PASS, "ok", message, figures)


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))
