"""`sightloop bench`: measurements that print each figure beside its bound."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.config.workspace import Workspace

_WITHOUT_MODEL = ("embedded", "evaluate", "soak")


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="update, capacity, memory, overload, embedded, batch, evaluate, soak, tune, "
            "or all (no soak, tune)."
        ),
    ] = "all",
    model: Annotated[
        Path | None, typer.Option(help="ONNX file to measure latency with, besides the tiny one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="data.yaml with labelled images for --model.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates in each part, for a quick look.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="How long overload and soak last: 60 and 600 otherwise."),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores that everything shares; all otherwise.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Release that tune measures: a folder or LINE@SEMVER.")
    ] = None,
    workspace: Annotated[Path, typer.Option(help="Where tune keeps what it found.")] = Path(
        ".sightloop"
    ),
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

    tuned = _tuned(name, release, workspace)

    def say(text: str) -> None:
        if not json_:
            print(text, file=sys.stderr, flush=True)

    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    for part in parts(name, Wish(model, data, updates, seconds, tuned)):
        print(json.dumps(part(say)), flush=True)


def _tuned(name: str, release: str | None, workspace: Path) -> tuple[Workspace, Path] | None:
    from sightloop.app.locate import locate_release
    from sightloop.config.workspace import open_workspace
    from sightloop.errors import ConfigError

    if (name == "tune") != (release is not None):
        raise ConfigError(
            "bench: expected --release with tune and with it alone, such as `sightloop bench tune "
            "--release weld@1.0.0`",
            "bench_release",
        )
    if release is None:
        return None
    place = open_workspace(workspace)
    return place, locate_release(place, release)
