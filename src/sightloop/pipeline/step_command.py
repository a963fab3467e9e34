"""One step as a command: `sightloop pipeline step NAME`, what other engines launch.

Runs the same function as the inline engine, with paths given by the caller. No cache: deciding
is the engine's business. Outputs appear whole when the step has ended, and nothing is replaced.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sightloop._support.files import TEMPORARY_PREFIX, new_folder, sync_folder
from sightloop.config.workspace import Workspace
from sightloop.errors import ConfigError
from sightloop.pipeline.config import PipelineConfig
from sightloop.pipeline.context import Report, StepContext
from sightloop.pipeline.graph import STEP_NAMES, build_graph
from sightloop.pipeline.step import Parameter, Step
from sightloop.pipeline.step_runner import call_step

_NO_DEFAULT = ("line", "semver")


def declared_step(name: str) -> Step:
    """The declaration of a step with the default parameters; `line` and `semver` have none.

    Raises:
        ConfigError: `step_unknown`: no such step.
    """
    if name not in STEP_NAMES:
        raise ConfigError(
            f"step: expected one of {', '.join(STEP_NAMES)}, found {name!r}", "step_unknown"
        )
    defaults = PipelineConfig(line="line", semver="0.0.0", data=Path("data.yaml"))
    return next(step for step in build_graph(defaults) if step.name == name)


def run_command(
    step: Step,
    *,
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    files: Mapping[str, Path],
    parameters: Mapping[str, Parameter],
    workspace: Workspace,
    run_id: str,
    report: Report,
) -> None:
    """Run one step on given paths.

    Raises:
        ConfigError: A path or parameter too few or too many, or an output that exists.
        SightloopError: The step failed; no output appeared.
    """
    _check_names("--in", "input", {one.name for one in step.inputs}, set(inputs))
    _check_names("--out", "output", {one.name for one in step.outputs}, set(outputs))
    defaults = {key: value for key, value in step.parameters.items() if key not in _NO_DEFAULT}
    given = {**defaults, **parameters}
    _check_names("--set", "parameter", set(step.parameters), set(given))
    for name, path in (*inputs.items(), *files.items()):
        if not path.exists():
            raise ConfigError(f"{name}: expected something at {path}, found none", "path_missing")
    with contextlib.ExitStack() as stack:
        places = {}
        for output in step.outputs:
            path = outputs[output.name]
            if path.exists():
                raise ConfigError(
                    f"--out {output.name}: expected a new path, found something at {path}; name "
                    "another or remove it",
                    "output_exists",
                )
            new = new_folder(path) if output.kind == "folder" else _new_file(path)
            places[output.name] = stack.enter_context(new)
        context = StepContext(
            inputs=inputs,
            outputs=places,
            files=files,
            parameters=given,
            workspace=workspace,
            run_id=run_id,
            report=report,
        )
        call_step(step.name, step.module, context)


def _check_names(option: str, what: str, expected: set[str], found: set[str]) -> None:
    if expected != found:
        names = ", ".join(sorted(expected)) or "none"
        wrong = ", ".join(sorted(expected ^ found))
        raise ConfigError(
            f"{option}: expected each {what} once ({names}), found missing or unknown: {wrong}",
            f"{what}_names",
        )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; the file becomes `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path.parent) as folder:
        place = Path(folder, path.name)
        yield place
        with open(place, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(place, path)
        sync_folder(path.parent)
