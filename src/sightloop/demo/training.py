"""The demo's three trainings: the recipes, written as the TOML files a person would write.

Each pipeline runs as `sightloop pipeline run`, in a process of its own: the second one at the
lowest priority, beside the live camera. Tried on 2 cores: 240 images in 20 epochs give mAP50
0.89, and 12 more epochs on 220 images take the new scratch from 0.03 to 0.85.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightloop._support.files import write_bytes_atomic
from sightloop.config.workspace import Workspace
from sightloop.errors import MissingExtraError, StepFailedError
from sightloop.pipeline.comparison import FOLDER_NAME
from sightloop.pipeline.run_record import RUN_JSON
from sightloop.pipeline.steps.gate import VERDICTS_NAME
from sightloop.testing.server_process import CLI

LINE: Final = "brushed-metal"
FIRST, SECOND, THIRD = "1.0.0", "1.1.0", "1.2.0"
LOWEST_PRIORITY: Final = 19
REFUSED: Final = 3
"""The exit code of a run whose release a gate refused."""
_TOP: Final = ""

Section = Mapping[str, str | int | float]

_NETWORK: Final[Section] = {
    "architecture": "yolov8n",
    "width": 0.125,
    "side_px": 160,
    "batch": 16,
    "nominal_batch": 16,
    "optimizer": "AdamW",
    "mosaic": 0.5,
    "seed": 0,
    "validate_every": 0,
    "device": "cpu",
}
_FROM_NOTHING: Final[Section] = {
    "epochs": 20,
    "learning_rate": 0.003,
    "warmup_epochs": 2.0,
    "close_mosaic": 5,
}
_FINE_TUNE: Final[Section] = {
    "epochs": 9,
    "learning_rate": 0.002,
    "warmup_epochs": 1.0,
    "close_mosaic": 4,
    "threads": 1,
}
"""One thread: two would wait for each other whenever the camera's answers take a core."""


_SHORT: Final[Section] = {"epochs": 8, "close_mosaic": 3}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a pipeline made.

    Attributes:
        bundle: The release in the workspace's store.
        digest: Its digest.
        semver: Its version.
        checkpoint: What the next training may start from.
        train_s: Seconds of the step `train`; None if it came from the cache.
        cached: Steps that came from the cache.
    """

    bundle: Path
    digest: str
    semver: str
    checkpoint: Path
    train_s: float | None
    cached: int


@dataclass(frozen=True, slots=True)
class Judged:
    """How the pipeline of 1.2.0 ended.

    Attributes:
        semver: Its version.
        gate: The gate that refused it; `none` if it was let through.
        reason: That gate's reason.
        message: The gate's words.
        quality: Folder with quality.json, quality.html and the lost frames; None without.
        train_s: Seconds of the step `train`; None if it came from the cache.
    """

    semver: str
    gate: str
    reason: str
    message: str
    quality: Path | None
    train_s: float | None


def check_extras() -> None:
    """Say what to install before minutes are spent.

    Raises:
        MissingExtraError: The trainer or MLflow is not installed.
    """
    missing = [name for name in ("ultralytics", "mlflow") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"the demo trains and registers two releases and needs {' and '.join(missing)}; "
            "install them with `pip install 'sightloop[train,registry]'`, or run "
            "`sightloop demo --quick`, which needs neither"
        )


def first_pipeline(data_yaml: Path) -> dict[str, Section]:
    """Sections of the config of 1.0.0, trained from random weights."""
    return {
        _TOP: {"line": LINE, "semver": FIRST, "data": str(data_yaml)},
        "train": {**_NETWORK, **_FROM_NOTHING},
    }


def second_pipeline(data_yaml: Path, first: Trained) -> dict[str, Section]:
    """Sections of the config of 1.1.0, fine-tuned from the checkpoint of 1.0.0."""
    return {
        _TOP: {"line": LINE, "semver": SECOND, "data": str(data_yaml), "parent": first.digest},
        "train": {"weights": str(first.checkpoint), **_NETWORK, **_FINE_TUNE},
    }


def third_pipeline(data_yaml: Path, second: Trained) -> dict[str, Section]:
    """Sections of the config of 1.2.0, fine-tuned from the checkpoint of 1.1.0."""
    return {
        _TOP: {"line": LINE, "semver": THIRD, "data": str(data_yaml), "parent": second.digest},
        "train": {"weights": str(second.checkpoint), **_NETWORK, **_FINE_TUNE, **_SHORT},
    }


def write_config(path: Path, sections: Mapping[str, Section]) -> None:
    """Write a pipeline's TOML file."""
    lines = []
    for name, values in sections.items():
        if name:
            lines.append(f"\n[{name}]")
        # JSON's text and numbers are TOML's.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def run_pipeline_process(config: Path, workspace: Path, *, low_priority: bool) -> Trained:
    """Run `sightloop pipeline run` and wait; its progress goes to standard error.

    Args:
        config: The TOML file.
        workspace: Its workspace.
        low_priority: Whether it gives way to everything else on the machine.

    Raises:
        StepFailedError: It ended with an error, which it has shown.
    """
    code, output = _run(config, workspace, low_priority=low_priority)
    if code != 0:
        raise StepFailedError(
            f"pipeline {config.name}: expected a release, found exit code {code}; "
            "its own error stands above",
            "pipeline_failed",
        )
    return _trained(json.loads(output.splitlines()[-1]))


def run_judged_pipeline(config: Path, workspace: Workspace) -> Judged:
    """Run the pipeline of a release that its gates are likely to refuse, at the lowest priority.

    Raises:
        StepFailedError: It ended with another error than a gate's no.
    """
    code, output = _run(config, workspace.root, low_priority=True)
    if code == 0:
        passed = _trained(json.loads(output.splitlines()[-1]))
        return _judged(passed.semver, {}, quality=None, train_s=passed.train_s)
    if code != REFUSED:
        raise StepFailedError(
            f"pipeline {config.name}: expected a gate to refuse its release, found exit code "
            f"{code}; its own error stands above",
            "pipeline_failed",
        )
    return _refused(workspace)


def _refused(workspace: Workspace) -> Judged:
    """Read the last run's own record; its name begins with the time."""
    folder = max(path.parent for path in workspace.runs.glob(f"*/{VERDICTS_NAME}"))
    verdict = json.loads((folder / VERDICTS_NAME).read_bytes())[-1]
    record = json.loads((folder / RUN_JSON).read_bytes())
    train = next(step for step in record["steps"] if step["name"] == "train")
    quality = folder / FOLDER_NAME
    return _judged(
        str(record["config"]["semver"]),
        verdict,
        quality=quality if quality.is_dir() else None,
        train_s=float(train["seconds"]) if train["state"] == "ran" else None,
    )


def _judged(
    semver: str, verdict: Mapping[str, Any], *, quality: Path | None, train_s: float | None
) -> Judged:
    """An empty verdict: no gate refused it."""
    return Judged(
        semver=semver,
        gate=str(verdict.get("gate", "none")),
        reason=str(verdict.get("reason", "not_refused")),
        message=str(verdict.get("message", "every gate let it pass")),
        quality=quality,
        train_s=train_s,
    )


def _run(config: Path, workspace: Path, *, low_priority: bool) -> tuple[int, str]:
    """Give the exit code and what was printed."""
    command = [*CLI, "pipeline", "run", "--config", str(config), "--workspace", str(workspace)]
    with subprocess.Popen(
        [*command, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        if low_priority:
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST_PRIORITY)
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return process.returncode, output


def _trained(result: Mapping[str, Any]) -> Trained:
    steps = {step["name"]: step for step in result["steps"]}
    train = steps["train"]
    return Trained(
        bundle=Path(result["bundle"]),
        digest=str(result["digest"]),
        semver=str(result["semver"]),
        checkpoint=Path(result["checkpoint"]),
        train_s=float(train["seconds"]) if train["how"] == "ran" else None,
        cached=sum(step["how"] == "cached" for step in steps.values()),
    )
