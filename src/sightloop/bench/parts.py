"""Which measurements there are, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sightloop.bench.batch import ROUNDS as BATCH_ROUNDS
from sightloop.bench.batch import bench_batch
from sightloop.bench.capacity import bench_capacity
from sightloop.bench.embedded import bench_embedded
from sightloop.bench.evaluate import bench_evaluate
from sightloop.bench.memory import UPDATES as MEMORY_UPDATES
from sightloop.bench.memory import bench_memory
from sightloop.bench.model_traffic import frame_cpu_ms, model_traffic
from sightloop.bench.overload import SECONDS as OVERLOAD_S
from sightloop.bench.overload import bench_overload
from sightloop.bench.soak import SECONDS as SOAK_S
from sightloop.bench.soak import bench_soak
from sightloop.bench.tune import bench_tune
from sightloop.bench.update import COUNTS, LATENCY, Load, Say, bench_update
from sightloop.config.workspace import Workspace
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

Part = Callable[[Say], dict[str, object]]
_BUSY_FRACTION_MAX = 0.5


NAMES = (
    "update",
    "capacity",
    "memory",
    "overload",
    "embedded",
    "batch",
    "evaluate",
    "soak",
    "tune",
    "all",
)
SLOW_LAYERS = 6
"""Makes a tiny detector cost about as much as YOLOv8n at 320 px."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for beside the name.

    Attributes:
        model: A network to measure with, with `data`; the tiny detectors when None.
        data: Its data.yaml.
        updates: How many, in those that update.
        seconds: How long, in those that take their time.
        release: Workspace and bundle that `tune` is about.
    """

    model: Path | None = None
    data: Path | None = None
    updates: int | None = None
    seconds: float | None = None
    release: tuple[Workspace, Path] | None = None

    @property
    def traffic(self) -> Callable[[Path], Traffic]:
        """Releases and images: of the model, or of detectors that cost as much as a small YOLO."""
        if self.model is not None and self.data is not None:
            return partial(model_traffic, model=self.model, data=self.data)
        return partial(tiny_traffic, slow_layers=SLOW_LAYERS)


def parts(name: str, wish: Wish) -> Iterator[Part]:
    """The parts of the measurement `name`; of all of them but soak and tune for `all`."""
    if name in ("update", "all"):
        yield from update_parts(wish.model, wish.data, wish.updates)
    if name in ("capacity", "all"):
        yield partial(bench_capacity, wish.traffic, False)
        yield partial(bench_capacity, wish.traffic, True)
    if name in ("memory", "all"):
        traffic = wish.traffic if wish.model is not None else tiny_traffic
        yield partial(bench_memory, traffic, wish.updates or MEMORY_UPDATES)
    if name in ("overload", "all"):
        yield partial(bench_overload, wish.traffic, wish.seconds or OVERLOAD_S)
    if name in ("embedded", "all"):
        yield partial(bench_embedded, wish.updates)
    if name in ("batch", "all"):
        yield partial(bench_batch, wish.model, BATCH_ROUNDS)
    if name in ("evaluate", "all"):
        yield bench_evaluate
    if name == "tune" and wish.release is not None:
        yield partial(bench_tune, *wish.release)
    if name == "soak":
        yield partial(bench_soak, wish.seconds or SOAK_S)


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
