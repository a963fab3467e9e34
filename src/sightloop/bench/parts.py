"""Which measurements there are, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sightloop.bench.embedded import bench_embedded
from sightloop.bench.model_traffic import frame_cpu_ms, model_traffic
from sightloop.bench.update import COUNTS, LATENCY, Load, Say, bench_update
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

Part = Callable[[Say], dict[str, object]]
_BUSY_FRACTION_MAX = 0.5


def parts(name: str, model: Path | None, data: Path | None, updates: int | None) -> Iterator[Part]:
    """The parts of the measurement `name`; of all of them for `all`."""
    if name in ("update", "all"):
        yield from update_parts(model, data, updates)
    if name in ("embedded", "all"):
        yield partial(bench_embedded, updates)


def update_parts(model: Path | None, data: Path | None, updates: int | None) -> Iterator[Part]:
    """The parts of `bench update`: counts and latency, or latency alone with one's own model."""
    if model is not None and data is not None:
        make = partial(model_traffic, model=model, data=data)
        yield partial(bench_update, _wanted(LATENCY, updates), make, pace)
        return
    yield partial(bench_update, _wanted(COUNTS, updates), tiny_traffic, keep_pace)
    yield partial(bench_update, _wanted(LATENCY, updates), tiny_traffic, keep_pace)


def keep_pace(load: Load, _traffic: Traffic) -> Load:
    """The load as it stands."""
    return load


def pace(load: Load, traffic: Traffic) -> Load:
    """At most the rate that keeps one core half busy: an open loop beyond capacity says nothing."""
    fps = 1000 * _BUSY_FRACTION_MAX / frame_cpu_ms(traffic)
    return load if fps >= load.fps else replace(load, fps=round(fps, 1))


def _wanted(load: Load, updates: int | None) -> Load:
    return load if updates is None else replace(load, updates=updates)
