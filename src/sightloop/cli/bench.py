"""`sightloop bench`: measurements that print each figure beside its bound."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

_WITHOUT_MODEL = ("embedded", "soak")


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="update, capacity, memory, overload, embedded, soak, or all (not soak)."
        ),
    ] = "all",
    model: Annotated[
        Path | None, typer.Option(help="ONNX file to measure latency with, besides the tiny one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="data.yaml with labelled images for --model.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(help="Updates in each part, for a quick look.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long overload and soak last: 60 and 600 otherwise.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores that everything shares; all otherwise.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line, no progress.")] = (
        False
    ),
) -> None:
    """Measure, and print one JSON object a line."""
    from sightloop.bench.parts import NAMES, Wish, parts
    from sightloop.errors import ConfigError

    if name not in NAMES:
        raise ConfigError(f"bench {name}: expected one of {', '.join(NAMES)}", "bench_unknown")
    if (model is None) != (data is None):
        raise ConfigError("bench: expected --model and --data together, found one", "bench_model")
    if model is not None and name in _WITHOUT_MODEL:
        raise ConfigError(
            f"bench {name}: expected no --model, found one; it measures the tiny detectors",
            "bench_model",
        )

    def say(text: str) -> None:
        if not json_:
            print(text, file=sys.stderr, flush=True)

    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    for part in parts(name, Wish(model, data, updates, seconds)):
        print(json.dumps(part(say)), flush=True)
