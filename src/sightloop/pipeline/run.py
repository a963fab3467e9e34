"""One run of a pipeline: from a config to a release in the workspace.

Holds the line's lock for as long as it works. Invariant: a run that returns has registered its
release; one that raises has registered nothing, and what its finished steps made is kept.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sightloop._support.clock import Clock, SystemClock
from sightloop._support.files import naming_full_disk
from sightloop.config.workspace import Workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError, ReleaseNotFoundError, VersionExistsError
from sightloop.pipeline.cache import Entry, check_outside
from sightloop.pipeline.config import PipelineConfig, is_path
from sightloop.pipeline.display import Display, How, SilentDisplay
from sightloop.pipeline.engines.inline import BeforeWork, nothing_before, run_inline
from sightloop.pipeline.evaluation_pictures import PAGE_NAME
from sightloop.pipeline.graph import build_graph, check_graph
from sightloop.pipeline.lock import hold_line
from sightloop.pipeline.run_record import RunRecord, mark_interrupted
from sightloop.pipeline.step import Step
from sightloop.pipeline.step_runner import StepRunner

ENGINES = ("inline",)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made.

    Attributes:
        run_id: The run's name; its folder lies in the workspace's `runs`.
        bundle: The release's folder in the workspace's store.
        digest: The release's digest.
        semver: The release's version.
        metrics: What `evaluate` measured.
        mlflow_run_id: The tracked run; None if none was tracked.
        checkpoint: The trainer's checkpoint, to start the next training from.
        report: The evaluation as a page for people.
        steps: Name, `cached` or `ran`, and seconds of each step.
    """

    run_id: str
    bundle: Path
    digest: str
    semver: str
    metrics: Mapping[str, Any]
    mlflow_run_id: str | None
    checkpoint: Path
    report: Path
    steps: tuple[tuple[str, How, float], ...]

    def as_dict(self) -> dict[str, object]:
        """The result as plain JSON values."""
        return {
            "run_id": self.run_id,
            "bundle": str(self.bundle),
            "digest": self.digest,
            "semver": self.semver,
            "metrics": dict(self.metrics),
            "mlflow_run_id": self.mlflow_run_id,
            "checkpoint": str(self.checkpoint),
            "report": str(self.report),
            "steps": [
                {"name": name, "how": how, "seconds": round(seconds, 3)}
                for name, how, seconds in self.steps
            ],
        }


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What a run would do with a step: `unknown` where it depends on what runs before."""

    step: Step
    what: Literal["cached", "run", "unknown"]
    key: str | None


class _Steps:
    """A display that also remembers how each step ended."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.ends: list[tuple[str, How, float]] = []

    def begin(self, steps: Sequence[str]) -> None:
        self._display.begin(steps)

    def working(self, step: str, fraction: float, text: str) -> None:
        self._display.working(step, fraction, text)

    def ended(self, step: str, how: How, seconds: float) -> None:
        self.ends.append((step, how, seconds))
        self._display.ended(step, how, seconds)

    def close(self) -> None:
        self._display.close()


def run_pipeline(
    config: PipelineConfig,
    workspace: Workspace,
    *,
    engine: str = "inline",
    display: Display | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Run the whole pipeline of `config`.

    Args:
        config: What is wanted.
        workspace: Where everything is kept.
        engine: What executes the steps: `inline`.
        display: Where progress is shown; None: nowhere.
        clock: Measures the steps; None: the machine's.

    Raises:
        ConfigError: An unknown engine, or a parent that is not in the store.
        PipelineError: `run_in_progress`: the line is being run already.
        ReleaseRefusedError: A gate said no.
        VersionExistsError: The line has this semver already, and it would be trained anew.
        SightloopError: A step failed.
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"engine: expected one of {', '.join(ENGINES)}, found {engine!r}", "engine_unknown"
        )
    config = with_parent_digest(config, workspace)
    steps = build_graph(config)
    watched = _Steps(display or SilentDisplay())
    run_id, made = run_steps(
        steps,
        workspace,
        line=config.line,
        config=config.model_dump(mode="json"),
        display=watched,
        clock=clock or SystemClock(),
        before_work=partial(_check_semver_is_free, config, workspace),
    )
    result: Any = json.loads(made["register"].outputs["result"].read_bytes())
    return RunResult(
        run_id=run_id,
        bundle=Path(result["bundle"]),
        digest=result["digest"],
        semver=result["semver"],
        metrics=result["metrics"],
        mlflow_run_id=result["registry"]["run_id"],
        checkpoint=Path(result["checkpoint"]),
        report=made["evaluate"].outputs["evaluation"] / PAGE_NAME,
        steps=tuple(watched.ends),
    )


def _check_semver_is_free(config: PipelineConfig, workspace: Workspace, step: str) -> None:
    """Say before hours of training, not after, that its release could not be registered."""
    if step != "train":
        return
    for entry in ReleaseStore(workspace.releases).entries():
        if (entry.line, entry.semver) == (config.line, config.semver):
            raise VersionExistsError(
                f"line {config.line}: {config.semver} is release {entry.digest[:12]} already, and "
                "data, settings or code have changed since; raise `semver` in the config"
            )


def run_steps(
    steps: Sequence[Step],
    workspace: Workspace,
    *,
    line: str,
    config: Mapping[str, object],
    display: Display,
    clock: Clock,
    before_work: BeforeWork = nothing_before,
) -> tuple[str, dict[str, Entry]]:
    """Run any graph under the line's lock, with a record. Returns the run's name and outputs.

    Raises:
        ConfigError: `file_missing`: said before the first step, not hours later.
        GraphInvalidError: The steps do not fit together.
        WorkspaceError: `disk_full`; a repetition goes on from the finished steps.
        SightloopError: A step failed.
    """
    check_graph(steps)
    for step in steps:
        for name, file in step.files.items():
            check_outside(name, file)
    with naming_full_disk(workspace.root), hold_line(workspace, line):
        mark_interrupted(workspace, line)
        run_id = new_run_id(clock)
        record = RunRecord(
            workspace.runs / run_id,
            line=line,
            config=config,
            steps=[step.name for step in steps],
            clock=clock,
        )
        runner = StepRunner(workspace, run_id)
        made = run_inline(
            steps,
            runner,
            record=record,
            display=display,
            clock=clock,
            before_work=before_work,
        )
        record.done({name: str(entry.folder) for name, entry in made.items()})
    return run_id, made


def new_run_id(clock: Clock) -> str:
    """A name no other run has: the time, for people, and chance."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(clock.wall_s()))
    return f"{stamp}-{secrets.token_hex(3)}"


def with_parent_digest(config: PipelineConfig, workspace: Workspace) -> PipelineConfig:
    """Replace a parent's semver or digest prefix by its digest, which means one thing for ever.

    Raises:
        ConfigError: `parent_missing`: the workspace's store has no such release.
    """
    if config.parent is None or is_path(config.parent):
        return config
    try:
        digest = ReleaseStore(workspace.releases).find(config.line, config.parent)
    except ReleaseNotFoundError as error:
        raise ConfigError(f"parent: {error.message}", "parent_missing") from error
    return config.model_copy(update={"parent": digest})


def plan(config: PipelineConfig, workspace: Workspace) -> tuple[PlannedStep, ...]:
    """Say which steps a run would serve from cache. Reads the data, runs nothing.

    Raises:
        ConfigError: A file or the parent does not exist.
        DatasetError: The dataset cannot be read.
    """
    runner = StepRunner(workspace, "plan")
    made: dict[str, Entry] = {}
    planned = []
    for step in build_graph(with_parent_digest(config, workspace)):
        if any(one.step not in made for one in step.inputs):
            planned.append(PlannedStep(step, "unknown" if step.cacheable else "run", None))
            continue
        decision = runner.decide(step, made)
        if decision.entry is not None:
            made[step.name] = decision.entry
        what: Literal["cached", "run"] = "cached" if decision.entry else "run"
        planned.append(PlannedStep(step, what, decision.key))
    return tuple(planned)
