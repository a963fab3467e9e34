"""Cost of a frame beside the champion's, on a clock the test moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.gates.latency import (
    PAIRS_MAX,
    PAIRS_MIN,
    STOPWATCHES,
    Race,
    Stopwatch,
    judge_latency,
    time_in_turn,
    timings_of,
)
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


def _race(*pairs: tuple[float, float], ratio_max: float = 1.5) -> Race:
    """Pairs of CPU times of candidate and champion in ms; each waits 100 ms besides."""
    race = Race(ratio_max)
    for pair in pairs:
        ours, its = ((int(ms * 1e6), int((ms + 100) * 1e6)) for ms in pair)
        race.add(candidate_ns=ours, champion_ns=its)
    return race


@pytest.mark.parametrize(
    ("candidate_ms", "outcome"), [(10.0, "PASS"), (15.0, "PASS"), (15.1, "FAIL"), (20.0, "FAIL")]
)
def test_more_than_half_again_of_the_champions_cpu_time_is_refused(
    candidate_ms: float, outcome: str
) -> None:
    race = _race(*[(candidate_ms, 10.0)] * 6)
    verdict = judge_latency(race, race.candidate)
    assert verdict.outcome.value == outcome
    assert verdict.measurements["cpu_ratio"] == pytest.approx(candidate_ms / 10)
    assert verdict.measurements["cpu_ratio_max"] == 1.5


def test_waiting_is_reported_and_not_judged() -> None:
    race = _race(*[(10.0, 10.0)] * 6)
    verdict = judge_latency(race, race.candidate)
    assert verdict.passed
    assert verdict.measurements["candidate_wall_ms_p50"] == pytest.approx(110)


def test_where_a_device_does_the_work_the_time_that_passes_is_judged() -> None:
    race = Race(judged="wall")
    for _ in range(PAIRS_MIN):
        race.add(candidate_ns=(10, 101), champion_ns=(10, 11))
    verdict = judge_latency(race, race.candidate)
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


def test_clock_that_stands_still_divides_nothing_by_zero() -> None:
    race = _race(*[(0.0, 0.0)] * 6)
    assert judge_latency(race, race.candidate).passed


def test_pairs_that_agree_are_enough_and_pairs_that_do_not_are_run_on() -> None:
    agreed = _race(*[(10.0, 10.0)] * (PAIRS_MIN - 1))
    assert agreed.goes_on
    agreed.add(candidate_ns=(1, 1), champion_ns=(1, 1))
    assert not agreed.goes_on
    doubtful = _race(*[(16.0, 10.0)] * 5, (14.0, 10.0))
    while doubtful.goes_on:
        doubtful.add(candidate_ns=(16, 16), champion_ns=(10, 10))
    assert len(doubtful.ratios) == PAIRS_MAX


def test_who_begins_changes_from_pair_to_pair() -> None:
    race, begun = Race(), []
    for _ in range(4):
        begun.append(race.candidate_begins)
        race.add(candidate_ns=(1, 1), champion_ns=(1, 1))
    assert begun == [True, False, True, False]


def _share_refused(ratio: float, spread: float) -> float:
    """Share of 2000 candidates that cost `ratio` x, refused; a pair's log ratio scatters normally.

    One pair in ten is hit by something else on the machine and is half again as long on one side.
    """
    rng, refused = np.random.default_rng(5), 0
    for _ in range(2000):
        race = Race()
        while race.goes_on:
            hit = rng.choice([1.0, 1.5, 1 / 1.5], p=[0.9, 0.05, 0.05])
            ours = ratio * float(np.exp(rng.normal(0, spread))) * hit
            race.add(candidate_ns=(int(ours * 1e7), 0), champion_ns=(int(1e7), 0))
        refused += not judge_latency(race, race.candidate).passed
    return refused / 2000


@pytest.mark.parametrize(
    ("ratio", "spread", "low", "high"),
    [
        (1.0, 0.05, 0.0, 0.0),
        (1.0, 0.15, 0.0, 0.0),
        (1.3, 0.05, 0.0, 0.001),
        (1.7, 0.05, 0.999, 1.0),
        (1.7, 0.15, 0.99, 1.0),
        (2.0, 0.05, 1.0, 1.0),
        (2.0, 0.15, 1.0, 1.0),
    ],
)
def test_fewer_pairs_refuse_and_miss_as_rarely_as_stated(
    ratio: float, spread: float, low: float, high: float
) -> None:
    assert low <= _share_refused(ratio, spread) <= high


def test_both_run_in_turn_and_take_turns_at_beginning() -> None:
    machine = _Machine()
    pair = [_Detector(machine, name, 1) for name in ("a", "b")]
    time_in_turn(pair, [FRAME] * 4, stopwatch=machine.stopwatch)
    assert "".join(machine.ran) == "ab" + "abba" * 2


def test_first_release_passes_with_its_figures() -> None:
    verdict = judge_latency(Race(), timings_of([(7_000_000, 8_000_000)] * 3))
    assert verdict.passed
    assert verdict.measurements["runs_candidate"] == 3
    assert verdict.measurements["candidate_cpu_ms_p50"] == pytest.approx(7)
