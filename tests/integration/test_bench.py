"""The benches that drive a real server, in small: their counts must be right, not their times."""

from functools import partial

from sightloop.bench.capacity import bench_capacity
from sightloop.bench.memory import bench_memory
from sightloop.bench.overload import bench_overload
from sightloop.bench.soak import bench_soak
from sightloop.testing.tiny_traffic import tiny_traffic


def ignore(_text: str) -> None:
    pass


def test_memory_comes_back_after_updates() -> None:
    figures = bench_memory(tiny_traffic, 3, ignore)
    assert figures["updates"] == 3
    assert isinstance(figures["grown_mib"], float)
    assert figures["grown_mib"] < 5.0


def test_soak_loses_mixes_and_serves_no_stale_answer() -> None:
    figures = bench_soak(8.0, ignore)
    assert (figures["failed"], figures["mixed"], figures["stale"]) == (0, 0, 0), figures["faults"]
    assert figures["answers"] == figures["checked"]
    assert isinstance(figures["answers"], int)
    assert figures["answers"] > 200


def test_overload_is_answered_or_refused_and_nothing_fails() -> None:
    figures = bench_overload(partial(tiny_traffic, slow_layers=6), 2.0, ignore)
    assert figures["failed"] == 0
    assert isinstance(figures["refused"], int)
    assert figures["refused"] > 0


def test_capacity_is_measured_beside_its_bound() -> None:
    figures = bench_capacity(tiny_traffic, False, ignore, rounds=1, turn_s=0.5)
    assert isinstance(figures["served_rps"], float)
    assert isinstance(figures["bare_rps"], float)
    assert 0 < figures["served_rps"] < figures["bare_rps"] * 1.5
