"""What a training says about itself, read back: results.json and origin.json.

The trainer writes results.json; the step `train` writes origin.json beside it: when, in which run
and from which code. Invariant: what is read was written whole; anything else is an error that
names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightloop._support.files import write_json_atomic
from sightloop.errors import TrainerError
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME, RESULTS_NAME, Recipe, recipe_from

ORIGIN_NAME: Final = "origin.json"


class EpochResult(BaseModel):
    """Figures of one epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    metrics: dict[str, float]


class TrainingResults(BaseModel):
    """What a training says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: tuple[EpochResult, ...]
    hyperparameters: dict[str, str | int | float | bool | None]
    starting_weights: str | None
    classes: tuple[str, ...]
    toolchain: dict[str, str]
    seconds: float
    trainer: str
    """Who trained: its checkpoint is read by it alone."""
    batch: Annotated[int, Field(ge=1)]
    """Images a step in the last epoch: the recipe's, its own choice, or less for want of memory."""
    precision: Literal["float32", "mixed"]
    resumed_after: tuple[int, ...]
    """Epochs after which the training was begun again, having been killed or out of memory."""

    @property
    def facts(self) -> dict[str, str | int | float | bool | None]:
        """What a release says of its training: the recipe, and what came of it."""
        return {
            **self.hyperparameters,
            "trainer": self.trainer,
            "batch_used": self.batch,
            "precision": self.precision,
        }

    @property
    def recipe(self) -> Recipe:
        """The recipe it was trained by."""
        return recipe_from(self.hyperparameters)


class TrainingOrigin(BaseModel):
    """Where a training comes from: what the release made of it will say of its own origin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    created: str
    git_commit: str | None


def write_origin(training: Path, origin: TrainingOrigin) -> None:
    """Write origin.json into a training's folder."""
    write_json_atomic(training / ORIGIN_NAME, origin.model_dump())


def read_origin(training: Path) -> TrainingOrigin:
    """Read origin.json of a training's folder.

    Raises:
        TrainerError: It is missing or not of this form.
    """
    try:
        return TrainingOrigin.model_validate_json((training / ORIGIN_NAME).read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainerError(
            f"{training / ORIGIN_NAME}: expected what the step `train` writes, found: {error}",
            reason="results_invalid",
        ) from error


def read_results(training: Path) -> TrainingResults:
    """Read results.json of a training's folder.

    Raises:
        TrainerError: It is missing or not of this form, or there is no checkpoint beside it.
    """
    try:
        results = TrainingResults.model_validate_json((training / RESULTS_NAME).read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainerError(
            f"{training / RESULTS_NAME}: expected what the step `train` writes, found: {error}",
            reason="results_invalid",
        ) from error
    if not (training / CHECKPOINT_NAME).is_file():
        raise TrainerError(
            f"{training}: expected {CHECKPOINT_NAME}, found none", reason="no_checkpoint"
        )
    return results
