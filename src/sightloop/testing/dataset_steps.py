"""Calls of the steps that make a dataset, on paths of a test.

They run as `sightloop pipeline step` runs them: without a cache, outputs published at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sightloop.config.workspace import open_workspace
from sightloop.pipeline.step import Parameter
from sightloop.pipeline.step_command import declared_step, run_command

RUN_ID = "run-1"


def call_dataset_step(
    root: Path,
    name: str,
    inputs: Mapping[str, Path],
    output: str,
    *,
    data: Path | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> Path:
    """Run the step `name` with the workspace `root/ws`; gives its output, `root/NAME-OUTPUT`."""
    place = root / f"{name}-{output}"
    run_command(
        declared_step(name),
        inputs=inputs,
        outputs={output: place},
        files={"data": data} if data else {},
        parameters=parameters or {},
        workspace=open_workspace(root / "ws"),
        run_id=RUN_ID,
        report=lambda fraction, text: None,
    )
    return place


def ingest(root: Path, data: Path) -> Path:
    """The ingested copy of the dataset of `data`."""
    return call_dataset_step(root, "ingest", {}, "dataset", data=data)
