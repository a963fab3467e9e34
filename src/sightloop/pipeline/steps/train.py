"""The step `train`: a detector from a dataset, by the trainer's own low-priority process.

Reads `dataset` (never written) and, when given, the file `weights` to start from; writes the
folder `training`: checkpoint.pt of the last epoch, results.json and origin.json. A training that
was killed goes on from its last finished epoch, which lies in the context's `kept`.
"""

from __future__ import annotations

from pathlib import Path

from sightloop._support.clock import SystemClock, utc_text
from sightloop._support.files import sha256_file
from sightloop.errors import DatasetError
from sightloop.pipeline.code_version import git_commit
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.training.results import TrainingOrigin, write_origin
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME, Trainer, TrainJob, recipe_from
from sightloop.pipeline.training.trainer_process import trainer_process


def run(context: StepContext) -> None:
    """Train with the trainer that the parameter `trainer` names."""
    with context.scratch() as scratch:
        train_with(context, trainer_process(context.text("trainer"), scratch))


def train_with(context: StepContext, trainer: Trainer) -> None:
    """Train with a given trainer.

    Raises:
        DatasetError: The starting weights do not exist.
        TrainerError: The training failed; nothing of it is kept.
    """
    weights = context.files.get("weights")
    if weights is not None and not weights.is_file():
        raise DatasetError(
            f"weights {weights}: expected a checkpoint (.pt) to start from, found no file; set "
            "train.weights to one, or leave it empty to start from random weights",
            reason="weights_missing",
        )
    output = context.outputs["training"]
    output.mkdir(parents=True, exist_ok=True)
    job = TrainJob(
        dataset=context.inputs["dataset"],
        output=output,
        weights=weights,
        recipe=recipe_from(
            {name: value for name, value in context.parameters.items() if name != "trainer"}
        ),
        kept=context.kept,
    )
    trainer.train(job, context.report)
    origin = TrainingOrigin(
        run_id=context.run_id,
        created=utc_text(SystemClock().wall_s()),
        git_commit=git_commit(Path.cwd()),
    )
    write_origin(output, origin)
    digest = sha256_file(output / CHECKPOINT_NAME)
    context.report(1.0, f"checkpoint {digest[:12]}")
