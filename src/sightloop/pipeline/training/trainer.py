"""What a trainer is: three verbs over files, whatever framework stands behind them.

Invariant: a dataset handed to a trainer is read, never written; what a verb promises to write
is whole when the verb returns. The pipeline's steps know this protocol alone. What speaks to a
framework runs in a process of its own: `ultralytics_trainer.py` (AGPL-3.0) and
`compact_trainer.py`, which needs torch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import ConfigError

CHECKPOINT_NAME: Final = "checkpoint.pt"
RESULTS_NAME: Final = "results.json"

Progress = Callable[[float, str], None]
"""Called with the done fraction (0..1) and a short text."""

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a training gives, besides data and starting weights.

    Attributes:
        architecture: Name of a detector description that the trainer knows, such as `yolov8n`;
            empty: its own choice. Ignored when the training starts from weights: theirs counts.
        width: Channel multiplier in place of the architecture's own; None keeps it.
        side_px: Side of the square input.
        epochs: Passes over the training images.
        batch: Images a step; 0 chooses by the size of the set. Halved when memory does not suffice.
        optimizer: `AdamW`, `SGD` or another the framework knows by name.
        learning_rate: Peak rate; it decays linearly to `final_rate_fraction` of it.
        final_rate_fraction: Last rate as a share of the peak.
        weight_decay: L2 strength.
        warmup_epochs: Epochs over which the rate rises.
        nominal_batch: Images an optimizer step is normalised to.
        mosaic: Probability of four images in one.
        close_mosaic: Last epochs without mosaic.
        flip_horizontal: Probability of a left-right flip.
        flip_vertical: Probability of an upside-down flip.
        hue: Share by which hue is varied.
        saturation: Share by which saturation is varied.
        brightness: Share by which brightness is varied.
        zoom: Share by which the size is varied.
        shift: Share of the side by which the image is moved.
        seed: Seed of weights, order and augmentation.
        validate_every: Epochs between measurements on the val split; 0 measures none.
        threads: Compute threads; 0 takes the machine's count.
        device: `auto` (a GPU when there is one), `cpu`, or a device number.
        mixed_precision: Whether a GPU that has bfloat16 computes in it where that does no harm; a
            CPU always computes in float32.
        time_limit_s: When given, as many epochs as fit into this time, in place of `epochs`.
    """

    architecture: str = ""
    width: float | None = None
    side_px: int = 640
    epochs: int = 100
    batch: int = 16
    optimizer: str = "AdamW"
    learning_rate: float = 0.002
    final_rate_fraction: float = 0.01
    weight_decay: float = 0.0005
    warmup_epochs: float = 3.0
    nominal_batch: int = 64
    mosaic: float = 1.0
    close_mosaic: int = 10
    flip_horizontal: float = 0.5
    flip_vertical: float = 0.0
    hue: float = 0.015
    saturation: float = 0.7
    brightness: float = 0.4
    zoom: float = 0.5
    shift: float = 0.1
    seed: int = 0
    validate_every: int = 5
    threads: int = 0
    device: str = "auto"
    mixed_precision: bool = True
    time_limit_s: float | None = None

    def as_dict(self) -> dict[str, Value]:
        """The recipe as plain values, by name."""
        return asdict(self)


def recipe_from(values: Mapping[str, Value]) -> Recipe:
    """A recipe from plain values; what is absent or None keeps its default.

    Raises:
        ConfigError: An unknown name, or a value of the wrong kind or outside its range.
    """
    default = Recipe().as_dict()
    if unknown := sorted(set(values) - set(default)):
        raise ConfigError(
            f"training parameter {unknown[0]!r}: expected one of {', '.join(sorted(default))}"
        )
    given = {name: value for name, value in values.items() if value is not None}
    read = {name: _typed(name, value, default[name]) for name, value in given.items()}
    recipe = Recipe(**read)  # type: ignore[arg-type]  # each value was checked against its field
    _check_ranges(recipe)
    return recipe


def _typed(name: str, value: Value, default: Value) -> Value:
    wanted: type = float if default is None else type(default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"training parameter {name}: expected {wanted.__name__}, found {value!r}")
    return value


def _check_ranges(recipe: Recipe) -> None:
    least = {"epochs": 1, "batch": 0, "seed": 0, "side_px": 32, "close_mosaic": 0, "threads": 0}
    for name, bound in (least | {"validate_every": 0, "nominal_batch": 1}).items():
        if getattr(recipe, name) < bound:
            raise ConfigError(
                f"training parameter {name}: expected at least {bound}, "
                f"found {getattr(recipe, name)}"
            )
    if recipe.side_px % 32:
        raise ConfigError(
            f"training parameter side_px: expected a multiple of 32, found {recipe.side_px}"
        )
    if recipe.width is not None and not 0.0 < recipe.width <= 4.0:
        raise ConfigError(
            f"training parameter width: expected above 0 and at most 4, found {recipe.width}"
        )
    for name in ("learning_rate", "time_limit_s"):
        value = getattr(recipe, name)
        if value is not None and value <= 0.0:
            raise ConfigError(f"training parameter {name}: expected above 0, found {value}")


@dataclass(frozen=True, slots=True)
class TrainJob:
    """One training.

    Attributes:
        dataset: Folder with data.yaml, images/SPLIT and labels/SPLIT; never written.
        output: Existing folder that receives `checkpoint.pt` and `results.json`.
        weights: Checkpoint to start from; None starts from random weights.
        recipe: How to train.
        kept: Folder, perhaps absent, for what lets a killed training go on from its last finished
            epoch; the same training finds it again. None: a killed training begins anew.
    """

    dataset: Path
    output: Path
    weights: Path | None
    recipe: Recipe
    kept: Path | None = None


@dataclass(frozen=True, slots=True)
class NetworkContract:
    """What an exported network takes and gives, as the file states it.

    Attributes:
        input_name: Name of the one input, (1, 3, side, side) float32.
        output_name: Name of the one output.
        output_shape: (1, 4 + C, N): cx cy w h in input px, then one score a class.
        side_px: Side of the square input.
        classes: Names by index.
    """

    input_name: str
    output_name: str
    output_shape: tuple[int, int, int]
    side_px: int
    classes: tuple[str, ...]


class Trainer(Protocol):
    """Trains, exports and runs a detector.

    Every verb raises `TrainerError` when the framework fails, and `MissingExtraError` when it is
    not installed.
    """

    def train(self, job: TrainJob, progress: Progress) -> None:
        """Train, and write the final checkpoint and `results.json` into `job.output`.

        `results.json` is what `results.py` reads. Epochs that an earlier, killed call finished
        with the same `job.kept` are not trained again. The checkpoint is that of the last epoch,
        never the best one: mAP swings between epochs until the rate has decayed.
        """

    def export(self, checkpoint: Path, output: Path, *, side_px: int) -> NetworkContract:
        """Write the checkpoint's network as ONNX to `output`, raw layout, batch of one."""

    def infer(self, checkpoint: Path, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the checkpoint itself, float32, in evaluation mode.

        Args:
            checkpoint: What `train` wrote.
            tensors: (n, 3, S, S) float32, RGB in 0..1.

        Returns:
            (n, 4 + C, N) float32, laid out as the exported network's output.
        """
