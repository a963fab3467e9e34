"""`sightloop bench`: measurements that print each figure beside its bound."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

_NAMES = ("update", "embedded", "all")


def bench(
    name: Annotated[str, typer.Argument(help="update, embedded, or all.")] = "all",
    model: Annotated[
        Path | None, typer.Option(help="ONNX file to measure latency with, besides the tiny one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="data.yaml with labelled images for --model.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(help="Updates in each part, for a quick look.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line, no progress.")] = (
        False
    ),
) -> None:
    """Measure, and print one JSON object a line."""
    from sightloop.bench.parts import parts
    from sightloop.errors import ConfigError

    if name not in _NAMES:
        raise ConfigError(f"bench {name}: expected one of {', '.join(_NAMES)}", "bench_unknown")
    if (model is None) != (data is None):
        raise ConfigError("bench: expected --model and --data together, found one", "bench_model")
    if model is not None and name == "embedded":
        raise ConfigError(
            "bench embedded: expected no --model, found one; it measures the tiny detectors",
            "bench_model",
        )

    def say(text: str) -> None:
        if not json_:
            print(text, file=sys.stderr, flush=True)

    for part in parts(name, model, data, updates):
        print(json.dumps(part(say)), flush=True)
