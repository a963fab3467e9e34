"""The pipeline's steps called one after another on rendered plates, with a trainer that is fake.

For tests of a single step that need what the earlier ones make: seconds without torch or MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sightloop.config.workspace import Workspace, open_workspace
from sightloop.dataset.copying import copy_dataset
from sightloop.dataset.yolo import read_yolo
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.step import Parameter
from sightloop.pipeline.steps import evaluate, gate
from sightloop.pipeline.steps.calibrate import calibrate_with
from sightloop.pipeline.steps.export import export_with
from sightloop.pipeline.steps.train import train_with
from sightloop.release.manifest import Tolerances
from sightloop.testing.fake_trainer import FakeTrainer
from sightloop.testing.plate_dataset import write_plate_dataset

SIDE_PX = 96
EVALUATE: Mapping[str, Parameter] = {"score": 0.25, "slice_column": "slice"}


@dataclass(frozen=True, slots=True)
class StepChain:
    """Outputs of the steps below one folder.

    Attributes:
        folder: Where everything lies.
        trainer: What "trains".
        said: What the steps reported, in order.
    """

    folder: Path
    trainer: FakeTrainer = field(default_factory=FakeTrainer)
    said: list[tuple[float, str]] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        """The workspace of all contexts."""
        return open_workspace(self.folder / "workspace")

    def out(self, name: str) -> Path:
        """Where an output of this name lies."""
        return self.folder / "outputs" / name

    def context(
        self,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        parameters: Mapping[str, Parameter],
        *,
        files: Mapping[str, Path] | None = None,
    ) -> StepContext:
        """A context over this chain's outputs; names ending in `.json` are files."""
        for name in outputs:
            folder = self.out(name).parent if "." in name else self.out(name)
            folder.mkdir(parents=True, exist_ok=True)
        return StepContext(
            inputs={name.partition(".")[0]: self.out(name) for name in inputs},
            outputs={name.partition(".")[0]: self.out(name) for name in outputs},
            files=files or {},
            parameters=parameters,
            workspace=self.workspace,
            run_id="run-1",
            report=lambda fraction, text: self.said.append((fraction, text)),
        )

    def dataset(self, *, train: int = 4, val: int = 12, test: int = 8) -> None:
        """Make `dataset`, as the step `split` would."""
        data = write_plate_dataset(
            self.folder / "user", {"train": train, "val": val, "test": test}, side_px=SIDE_PX
        )
        self.out("dataset").mkdir(parents=True)
        copy_dataset(read_yolo(data), self.out("dataset"), source="plates")

    def train(self) -> None:
        """Make `training`."""
        parameters: dict[str, Parameter] = {"side_px": SIDE_PX, "epochs": 2}
        train_with(self.context(("dataset",), ("training",), parameters), self.trainer)

    def export(self) -> None:
        """Make `model`."""
        context = self.context(("training",), ("model",), {"side_px": SIDE_PX})
        export_with(context, self.trainer)

    def evaluate(self, *, slices: Path | None = None, **changes: Parameter) -> None:
        """Make `evaluation`, with the user's table of slices where one is given."""
        files = {"slices": slices} if slices else {}
        parameters = {**EVALUATE, **changes}
        context = self.context(("dataset", "model"), ("evaluation",), parameters, files=files)
        evaluate.run(context)

    def calibrate(self, *, frames: int = 8) -> None:
        """Make `calibration`."""
        parameters: dict[str, Parameter] = {"frames": frames, "score": 0.25}
        inputs = ("dataset", "training", "model")
        calibrate_with(self.context(inputs, ("calibration",), parameters), self.trainer)

    def gate(self, *, parent: Path | None = None, **changes: Parameter) -> None:
        """Make `verdicts.json` and `bundle`."""
        inputs = ("dataset", "training", "model", "calibration", "evaluation")
        files = {"parent": parent} if parent else {}
        parameters = gate_parameters() | changes
        gate.run(self.context(inputs, ("verdicts.json", "bundle"), parameters, files=files))

    def up_to_gate(self) -> None:
        """Make everything that `gate` reads."""
        self.dataset()
        self.train()
        self.export()
        self.evaluate()
        self.calibrate()


def gate_parameters() -> dict[str, Parameter]:
    """What the graph hands to `gate`; a few plates suffice to compare with a parent."""
    tolerances = Tolerances().model_dump()
    return {
        "line": "plate",
        "semver": "1.0.0",
        "map50_min": 0.5,
        "latency_ratio_max": 10.0,
        "score": 0.25,
        "license": "Apache-2.0",
        "origin": "rendered plates",
        "parent": None,
        "slice_column": "slice",
        "quality_drop_max": 0.05,
        "quality_detectable_drop": 0.6,
        "quality_alpha": 0.05,
        "quality_slices": True,
        "quality_inconclusive": "refuse",
        "quality_slices_inconclusive": "warn",
        **{f"tolerance_{name}": value for name, value in tolerances.items()},
    }
