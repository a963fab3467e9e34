"""Cost of a frame beside the champion's, on a clock the test moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.gates.latency import STOPWATCHES, Stopwatch, check_latency, time_in_turn
from sightloop.release.verdict import Outcome
from sightloop.runtime.compute import Cost
from sightloop.vision.detections import Detections, no_detections

FRAME = np.zeros((8, 8, 3), np.uint8)


class _Machine:
    """CPU and wall time in ns, and who ran."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0
        self.ran: list[str] = []

    @property
    def stopwatch(self) -> Stopwatch:
        return Stopwatch(cpu_ns=lambda: self.cpu, wall_ns=lambda: self.wall)


class _Detector:
    def __init__(self, machine: _Machine, name: str, cpu_ms: float, *, waits_ms: float = 0) -> None:
        self._machine, self._name = machine, name
        self._cpu_ns, self._wait_ns = int(cpu_ms * 1e6), int(waits_ms * 1e6)

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        self._machine.cpu += self._cpu_ns
        self._machine.wall += self._cpu_ns + self._wait_ns
        self._machine.ran.append(self._name)
        return no_detections()


@pytest.mark.parametrize(
    ("candidate_ms", "outcome"), [(10.0, "PASS"), (15.0, "PASS"), (15.1, "FAIL"), (20.0, "FAIL")]
)
def test_more_than_half_again_of_the_champions_cpu_time_is_refused(
    candidate_ms: float, outcome: str
) -> None:
    machine = _Machine()
    verdict = check_latency(
        _Detector(machine, "candidate", candidate_ms),
        [FRAME],
        champion=_Detector(machine, "champion", 10.0),
        stopwatch=machine.stopwatch,
    )
    assert verdict.outcome.value == outcome
    assert verdict.measurements["cpu_ratio"] == pytest.approx(candidate_ms / 10)
    assert verdict.measurements["cpu_ratio_max"] == 1.5


def test_waiting_is_reported_and_not_judged() -> None:
    machine = _Machine()
    verdict = check_latency(
        _Detector(machine, "candidate", 10.0, waits_ms=100),
        [FRAME],
        champion=_Detector(machine, "champion", 10.0),
        stopwatch=machine.stopwatch,
    )
    assert verdict.passed
    assert verdict.measurements["candidate_wall_ms_p50"] == pytest.approx(110)


def test_where_a_device_does_the_work_the_time_that_passes_is_judged() -> None:
    machine = _Machine()
    stopwatch = Stopwatch(lambda: machine.cpu, lambda: machine.wall, judged="wall")
    verdict = check_latency(
        _Detector(machine, "candidate", 1.0, waits_ms=100),
        [FRAME],
        champion=_Detector(machine, "champion", 1.0, waits_ms=10),
        stopwatch=stopwatch,
    )
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "too_slow")
    assert verdict.measurements["wall_ratio"] == pytest.approx(101 / 11)
    assert "CPU" not in verdict.message


def test_every_kind_of_cost_has_its_stopwatch() -> None:
    assert set(STOPWATCHES) == set(Cost)
    assert {cost: watch.judged for cost, watch in STOPWATCHES.items()} == {
        Cost.THREAD: "cpu",
        Cost.PROCESS: "cpu",
        Cost.WALL: "wall",
    }


def test_both_run_in_turn_and_take_turns_at_beginning() -> None:
    machine = _Machine()
    pair = [_Detector(machine, name, 1) for name in ("a", "b")]
    time_in_turn(pair, [FRAME] * 4, stopwatch=machine.stopwatch)
    assert "".join(machine.ran) == "ab" + "abba" * 2


def test_first_release_passes_with_its_figures() -> None:
    machine = _Machine()
    detector = _Detector(machine, "candidate", 7)
    verdict = check_latency(detector, [FRAME] * 3, champion=None, stopwatch=machine.stopwatch)
    assert verdict.passed
    assert verdict.measurements["runs"] == 20
    assert verdict.measurements["candidate_cpu_ms_p50"] == pytest.approx(7)


def test_no_frames_prove_nothing() -> None:
    machine = _Machine()
    verdict = check_latency(_Detector(machine, "candidate", 7), [], champion=None)
    assert (verdict.outcome, verdict.reason) == (Outcome.INCONCLUSIVE, "no_frames")


class _Broken:
    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        raise BackendError("network: it failed", "inference_failed")


def test_network_that_fails_is_refused() -> None:
    verdict = check_latency(_Broken(), [FRAME], champion=None)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "inference_failed")
