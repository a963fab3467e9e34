"""Which steps a pipeline has and how they hang together.

The graph is plain data, made from a config alone: it runs nothing, and of files it asks only
whether `data` is a folder.
Invariant: a graph that `check_graph` has passed names every input before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sightloop.errors import GraphInvalidError
from sightloop.pipeline.config import PipelineConfig, TrainConfig, TrainerName, is_path
from sightloop.pipeline.step import Input, Output, OutsideFile, Parameter, Step

_STEPS = "sightloop.pipeline.steps"
_TRAINER_CODE: Mapping[TrainerName, tuple[str, ...]] = {
    "ultralytics": ("sightloop.pipeline.training.ultralytics_trainer",),
    "compact": ("sightloop.pipeline.training.compact_trainer",),
}
_LICENSES: Mapping[TrainerName, str] = {"ultralytics": "AGPL-3.0", "compact": "not stated"}
_ARCHITECTURES: Mapping[TrainerName, str] = {"ultralytics": "yolov8n", "compact": "compact"}
STEP_NAMES = (
    "ingest",
    "check",
    "split",
    "train",
    "export",
    "evaluate",
    "calibrate",
    "gate",
    "register",
)


def build_graph(config: PipelineConfig) -> tuple[Step, ...]:
    """The steps of the pipeline in an order that fits."""
    steps = (
        *_dataset_steps(config),
        *_model_steps(config),
        *_release_steps(config),
    )
    check_graph(steps)
    return steps


def _dataset_steps(config: PipelineConfig) -> tuple[Step, ...]:
    folder = config.parent if config.parent and is_path(config.parent) else None
    table = config.split.group_csv
    return (
        Step(
            name="ingest",
            module=f"{_STEPS}.ingest",
            outputs=(Output("dataset", "folder"),),
            files={"data": OutsideFile(str(config.data), "dataset")},
        ),
        Step(
            name="check",
            module=f"{_STEPS}.check",
            inputs=(Input("dataset", "ingest", "dataset"),),
            outputs=(Output("report", "folder"),),
            parameters={**config.check.model_dump(), "parent": None if folder else config.parent},
            files={"parent": OutsideFile(folder, "folder")} if folder else {},
        ),
        Step(
            name="split",
            module=f"{_STEPS}.split",
            inputs=(Input("dataset", "ingest", "dataset"), Input("report", "check", "report")),
            outputs=(Output("dataset", "folder"),),
            parameters={
                "val_fraction": config.split.val_fraction,
                "test_fraction": config.split.test_fraction,
                "seed": config.split.seed,
                "group_pattern": config.split.group_pattern,
                "group_column": config.split.group_column,
            },
            files={"groups": OutsideFile(table, "file")} if table else {},
        ),
    )


def _model_steps(config: PipelineConfig) -> tuple[Step, ...]:
    dataset = Input("dataset", "split", "dataset")
    training = Input("training", "train", "training")
    model = Input("model", "export", "model")
    weights = config.train.weights
    return (
        Step(
            name="train",
            module=f"{_STEPS}.train",
            inputs=(dataset,),
            outputs=(Output("training", "folder"),),
            parameters=_train_parameters(config.train),
            files={"weights": OutsideFile(weights, "file")} if weights else {},
            code=_TRAINER_CODE[config.train.trainer],
        ),
        Step(
            name="export",
            module=f"{_STEPS}.export",
            inputs=(training,),
            outputs=(Output("model", "folder"),),
            parameters={"side_px": config.train.side_px},
            code=_TRAINER_CODE[config.train.trainer],
        ),
        Step(
            name="evaluate",
            module=f"{_STEPS}.evaluate",
            inputs=(dataset, model),
            outputs=(Output("evaluation", "folder"),),
            parameters={
                "score": config.evaluate.score,
                "slice_column": config.evaluate.slice_column,
            },
            files=_slices_file(config),
        ),
        Step(
            name="calibrate",
            module=f"{_STEPS}.calibrate",
            inputs=(dataset, training, model),
            outputs=(Output("calibration", "folder"),),
            parameters={"frames": config.calibrate.frames, "score": config.evaluate.score},
            code=_TRAINER_CODE[config.train.trainer],
        ),
    )


def _train_parameters(train: TrainConfig) -> dict[str, Parameter]:
    """Every training setting but the weights' path: their content counts, not their place."""
    values: dict[str, Parameter] = train.model_dump(exclude={"weights"})
    return values


def _release_steps(config: PipelineConfig) -> tuple[Step, ...]:
    dataset = Input("dataset", "split", "dataset")
    training = Input("training", "train", "training")
    evaluation = Input("evaluation", "evaluate", "evaluation")
    identity: dict[str, Parameter] = {"line": config.line, "semver": config.semver}
    parent_folder = config.parent if config.parent and is_path(config.parent) else None
    return (
        Step(
            name="gate",
            module=f"{_STEPS}.gate",
            inputs=(
                dataset,
                training,
                Input("model", "export", "model"),
                Input("calibration", "calibrate", "calibration"),
                evaluation,
            ),
            outputs=(Output("verdicts", "file", ".json"), Output("bundle", "folder")),
            parameters={
                **identity,
                **config.gate.model_dump(),
                "score": config.evaluate.score,
                "slice_column": config.evaluate.slice_column,
                "license": config.weights.license or _LICENSES[config.train.trainer],
                "origin": config.weights.origin or _origin(config.train),
                "parent": None if parent_folder else config.parent,
                **_tolerances(config),
            },
            files=_slices_file(config)
            | ({"parent": OutsideFile(parent_folder, "folder")} if parent_folder else {}),
        ),
        Step(
            name="register",
            module=f"{_STEPS}.register",
            inputs=(
                dataset,
                training,
                evaluation,
                Input("verdicts", "gate", "verdicts"),
                Input("bundle", "gate", "bundle"),
            ),
            outputs=(Output("result", "file", ".json"),),
            parameters=identity,
            cacheable=False,
        ),
    )


def _slices_file(config: PipelineConfig) -> dict[str, OutsideFile]:
    """The user's table of slices, where there is one: in `data`, or beside the file that it is."""
    name = config.evaluate.slices
    folder = config.data if config.data.is_dir() else config.data.parent
    return {"slices": OutsideFile(str(folder / name), "file")} if name else {}


def _origin(train: TrainConfig) -> str:
    architecture = train.architecture or _ARCHITECTURES[train.trainer]
    if train.weights:
        return f"{architecture} fine-tuned from given weights"
    return f"{architecture} trained from random weights"


def _tolerances(config: PipelineConfig) -> dict[str, Parameter]:
    """`tolerance_NAME` for each field of the manifest's Tolerances."""
    values = config.calibrate.tolerances.model_dump()
    return {f"tolerance_{name}": value for name, value in values.items()}


def check_graph(steps: Sequence[Step]) -> None:
    """Refuse a declaration that cannot be run in its order.

    Raises:
        GraphInvalidError: A name stands twice, or an input names nothing made before it.
    """
    made: dict[str, set[str]] = {}
    for step in steps:
        if step.name in made:
            raise GraphInvalidError(f"step {step.name} is declared twice; rename one")
        for given in step.inputs:
            if given.output not in made.get(given.step, set()):
                raise GraphInvalidError(
                    f"step {step.name}: input {given.name} names {given.step}.{given.output}, "
                    "which no earlier step makes; correct the name or the order"
                )
        names = [output.name for output in step.outputs]
        for kind, listed in (("output", names), ("input", [one.name for one in step.inputs])):
            if len(set(listed)) != len(listed):
                raise GraphInvalidError(f"step {step.name}: an {kind} is named twice: {listed}")
        made[step.name] = set(names)
