"""The steps that need a trainer, with the fake one: a whole pipeline runs without torch.

One `run` for all of them: what is wanted shows in the outputs' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sightloop.pipeline.context import StepContext
from sightloop.pipeline.step import Step
from sightloop.pipeline.steps.calibrate import calibrate_with
from sightloop.pipeline.steps.export import export_with
from sightloop.pipeline.steps.train import train_with
from sightloop.testing.fake_trainer import FakeTrainer

_STEPS: Final = {"training": train_with, "model": export_with, "calibration": calibrate_with}


def run(context: StepContext) -> None:
    """Train, export or calibrate with the fake trainer."""
    (output,) = context.outputs
    _STEPS[output](context, FakeTrainer())


def with_fake_trainer(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same graph, trained by the fake trainer."""
    return tuple(
        replace(step, module=__name__, code=())
        if step.name in ("train", "export", "calibrate")
        else step
        for step in steps
    )
