"""The gate `latency`: what a frame costs on this machine, beside what it costs the champion.

Both run in turn on the calling thread, frame by frame, and the thread's own CPU time is compared:
what else the machine does disturbs neither, or both alike. Wall time is reported; it is judged in
the place of CPU time only where a device does the work (docs/adr/0007).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.release.verdict import Measurement, Outcome, Verdict
from sightloop.runtime.compute import Cost
from sightloop.vision.detections import Detections

GATE = "latency"
RATIO_MAX: Final = 1.5
RUNS_MIN: Final = 20


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
    judged: Literal["cpu", "wall"] = "cpu"


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


def check_latency(
    candidate: Detector,
    frames: Sequence[NDArray[np.uint8]],
    *,
    champion: Detector | None,
    ratio_max: float = RATIO_MAX,
    runs: int = RUNS_MIN,
    stopwatch: Stopwatch = SYSTEM_STOPWATCH,
) -> Verdict:
    """Compare the candidate's cost of a frame with the champion's.

    Args:
        candidate: Warmed up.
        frames: (H, W, 3) uint8 RGB each, decoded; used in turn until there are `runs`.
        champion: None for a first release: then the figures are given and the verdict is PASS.
        ratio_max: The median of candidate / champion may be at most so much.
        runs: Frames to time.
        stopwatch: Where the times come from.
    """
    if not frames:
        return Verdict(
            GATE,
            Outcome.INCONCLUSIVE,
            "no_frames",
            f"expected calibration frames to time {runs} runs on, found none; build the release "
            "with --frames",
        )
    chosen = list(islice(cycle(frames), runs))
    detectors = [candidate] if champion is None else [candidate, champion]
    try:
        timings = time_in_turn(detectors, chosen, stopwatch=stopwatch)
    except BackendError as error:
        return Verdict(GATE, Outcome.FAIL, error.reason, error.message)
    return judge_latency(
        timings[0],
        timings[1] if champion is not None else None,
        ratio_max=ratio_max,
        judged=stopwatch.judged,
    )


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


def judge_latency(
    candidate: Timings,
    champion: Timings | None,
    *,
    ratio_max: float,
    judged: Literal["cpu", "wall"] = "cpu",
) -> Verdict:
    """The verdict on measured times; `champion` was timed on the same frames in turn."""
    figures: dict[str, Measurement] = {
        "runs": len(candidate.cpu_ms),
        "candidate_cpu_ms_p50": _median(candidate.cpu_ms),
        "candidate_wall_ms_p50": _median(candidate.wall_ms),
    }
    times = candidate.cpu_ms if judged == "cpu" else candidate.wall_ms
    unit = "CPU time" if judged == "cpu" else "time"
    if champion is None:
        message = f"{_median(times):.2f} ms of {unit} a frame; no champion to compare with"
        return Verdict(GATE, Outcome.PASS, "ok", message, figures)
    theirs = champion.cpu_ms if judged == "cpu" else champion.wall_ms
    # The clock may stand still during a very short run: a zero divides nothing.
    tick_ms = 1e-6
    ratio = _median(np.maximum(times, tick_ms) / np.maximum(theirs, tick_ms))
    figures |= {
        "champion_cpu_ms_p50": _median(champion.cpu_ms),
        "champion_wall_ms_p50": _median(champion.wall_ms),
        f"{judged}_ratio": ratio,
        f"{judged}_ratio_max": ratio_max,
    }
    message = (
        f"expected at most {ratio_max:g} x the champion's {unit} a frame, found {ratio:.2f} x "
        f"({_median(times):.2f} ms against {_median(theirs):.2f} ms)"
    )
    if ratio > ratio_max:
        return Verdict(GATE, Outcome.FAIL, "too_slow", message, figures)
    return Verdict(GATE, Outcome.PASS, "ok", message, figures)


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))
