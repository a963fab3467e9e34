"""`sightloop pipeline`: run a pipeline, run one step of it, show what a run would do.

Progress goes to standard error, results to standard output. Errors are raised; the root command
turns them into exit codes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.pipeline.display import Display
    from sightloop.pipeline.run import PlannedStep, RunResult

app = typer.Typer(help="From images to a proven release.", no_args_is_help=True)

_Config = Annotated[
    Path, typer.Option("--config", help="The pipeline's TOML file.", show_default=False)
]
_Workspace = Annotated[Path, typer.Option("--workspace", help="Folder of everything local.")]
_Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: train.epochs=2. May be repeated."),
]
_Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Checkpoint (.pt) to start from; same as train.weights."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_DEFAULT_WORKSPACE = Path(".sightloop")


@app.command("run")
def run(
    config: _Config,
    engine: Annotated[str, typer.Option("--engine", help="What executes the steps.")] = "inline",
    workspace: _Workspace = _DEFAULT_WORKSPACE,
    sets: _Sets = None,
    weights: _Weights = None,
    as_json: _Json = False,
) -> None:
    """Run the pipeline; steps that are up to date come from the cache."""
    from sightloop.config.workspace import open_workspace
    from sightloop.pipeline.config import load_config
    from sightloop.pipeline.run import run_pipeline

    settings = load_config(config, _overrides(sets, weights))
    result = run_pipeline(settings, open_workspace(workspace), engine=engine, display=_display())
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        _print_result(settings.line, result)


@app.command("step")
def step(
    name: Annotated[str, typer.Argument(help="Name of the step, such as `ingest`.")],
    inputs: Annotated[list[str] | None, typer.Option("--in", help="INPUT=PATH")] = None,
    outputs: Annotated[list[str] | None, typer.Option("--out", help="OUTPUT=PATH, new")] = None,
    files: Annotated[list[str] | None, typer.Option("--file", help="FILE=PATH")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="PARAMETER=VALUE")] = None,
    workspace: _Workspace = _DEFAULT_WORKSPACE,
    as_json: _Json = False,
) -> None:
    """Run one step on given paths, without the cache: what other engines launch."""
    from sightloop._support.clock import SystemClock
    from sightloop.config.workspace import open_workspace
    from sightloop.pipeline.config import parse_value
    from sightloop.pipeline.display import PlainDisplay
    from sightloop.pipeline.run import new_run_id
    from sightloop.pipeline.step_command import declared_step, run_command

    clock = SystemClock()
    display = PlainDisplay(sys.stderr, clock)
    started_s = clock.monotonic_s()
    run_command(
        declared_step(name),
        inputs=_paths(inputs),
        outputs=_paths(outputs),
        files=_paths(files),
        parameters={key: parse_value(value) for key, value in _assignments(sets)},
        workspace=open_workspace(workspace),
        run_id=new_run_id(clock),
        report=lambda fraction, text: display.working(name, fraction, text),
    )
    seconds = clock.monotonic_s() - started_s
    if as_json:
        made = {key: str(path) for key, path in _paths(outputs).items()}
        print(json.dumps({"step": name, "outputs": made, "seconds": round(seconds, 3)}))
    else:
        display.ended(name, "ran", seconds)


@app.command("show")
def show(
    config: _Config,
    workspace: _Workspace = _DEFAULT_WORKSPACE,
    sets: _Sets = None,
    weights: _Weights = None,
    as_json: _Json = False,
) -> None:
    """Show the steps and which of them a run would take from the cache."""
    from sightloop.config.workspace import open_workspace
    from sightloop.pipeline.config import load_config
    from sightloop.pipeline.run import plan

    settings = load_config(config, _overrides(sets, weights))
    planned = plan(settings, open_workspace(workspace))
    if as_json:
        print(json.dumps({"line": settings.line, "steps": [_planned(one) for one in planned]}))
        return
    for one in planned:
        reads = ", ".join(f"{given.step}.{given.output}" for given in one.step.inputs)
        reads = reads or ", ".join(file.path for file in one.step.files.values())
        print(f"{one.step.name:<10} {one.what:<8} {(one.key or '')[:12]:<12}  reads {reads}")


def _overrides(sets: list[str] | None, weights: Path | None) -> list[str]:
    given = list(sets or ())
    if weights is not None:
        given.append(f"train.weights={json.dumps(str(weights))}")
    return given


def _assignments(texts: list[str] | None) -> list[tuple[str, str]]:
    from sightloop.pipeline.config import split_assignment

    return [split_assignment(text) for text in texts or ()]


def _paths(texts: list[str] | None) -> dict[str, Path]:
    return {key: Path(value).absolute() for key, value in _assignments(texts)}


def _display() -> Display:
    from rich.console import Console

    from sightloop._support.clock import SystemClock
    from sightloop.pipeline.display import PlainDisplay, TerminalDisplay

    if sys.stderr.isatty():
        return TerminalDisplay(Console(stderr=True))
    return PlainDisplay(sys.stderr, SystemClock())


def _print_result(line: str, result: RunResult) -> None:
    cached = sum(how == "cached" for _, how, _ in result.steps)
    map50 = result.metrics.get("map50")
    quality = "mAP50 unknown" if map50 is None else f"mAP50 {map50:.3f}"
    print(f"{line} {result.semver} {result.digest[:12]}  {quality}")
    print(f"bundle: {result.bundle}")
    print(f"report: {result.report}")
    print(f"run {result.run_id}: {len(result.steps)} steps, {cached} from cache")


def _planned(one: PlannedStep) -> dict[str, object]:
    return {
        "name": one.step.name,
        "what": one.what,
        "key": one.key,
        "cacheable": one.step.cacheable,
        "inputs": {given.name: f"{given.step}.{given.output}" for given in one.step.inputs},
        "files": {name: file.path for name, file in one.step.files.items()},
        "parameters": dict(one.step.parameters),
    }
