"""Which measurements there are, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sightloop.bench.model_traffic import model_traffic
from sightloop.bench.update import COUNTS, LATENCY, Say, bench_update
from sightloop.testing.tiny_traffic import tiny_traffic

Part = Callable[[Say], dict[str, object]]


def update_parts(model: Path | None, data: Path | None, updates: int | None) -> Iterator[Part]:
    """The parts of `bench update`: counts, then latency, with the model where one is given."""
    latency_traffic = tiny_traffic
    if model is not None and data is not None:
        latency_traffic = partial(model_traffic, model=model, data=data)
    for load, make in ((COUNTS, tiny_traffic), (LATENCY, latency_traffic)):
        if make is tiny_traffic and load is COUNTS and model is not None:
            continue  # a model is asked about for its latency; the counts need no second run
        wanted = load if updates is None else replace(load, updates=updates)
        yield lambda say, wanted=wanted, make=make: bench_update(wanted, make, say)
