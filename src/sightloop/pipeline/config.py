"""The settings of one pipeline: a TOML file, refined by `--set`, checked once.

Invariant: a `PipelineConfig` that came from `load_config` holds absolute paths and no unknown
key. It says what is wanted; whether the data is fit for it is the steps' business.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sightloop.config.fault_text import fault_text
from sightloop.dataset.checks import NearDuplicates
from sightloop.errors import ConfigError
from sightloop.pipeline.step import Parameter
from sightloop.release.manifest import Fraction, Line, Semver, Tolerances


def _checked_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression, found {text!r}: {error}") from error
    return text


TrainerName = Literal["ultralytics", "compact"]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
SplitShare = Annotated[float, Field(gt=0, lt=0.5)]
Pattern = Annotated[str, AfterValidator(_checked_pattern)]
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckConfig(_Section):
    """What the check of the dataset lets pass."""

    allow_empty_classes: bool = False
    """Whether a class without a box in `train` is a warning only; else it ends the run."""
    near_duplicates: NearDuplicates = "warn"
    """What images that look alike in two splits are: `warn`, `fatal`, or `off`: not looked for."""


class SplitConfig(_Section):
    """How absent splits are made from `train`. Splits that are given are kept."""

    val_fraction: SplitShare = 0.15
    test_fraction: SplitShare = 0.15
    seed: int = 0
    group_pattern: Pattern = ""
    """Regular expression: what its first bracket finds in a file name is the image's group."""
    group_csv: str = ""
    """CSV with a column `file` and one of groups, relative to the config file."""
    group_column: str = "group"
    """Its column of groups. The images of a group go to one split."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.group_pattern and self.group_csv:
            raise ValueError("group_pattern and group_csv: give one of them")
        return self


class TrainConfig(_Section):
    """How the detector is trained."""

    trainer: TrainerName = "ultralytics"
    """`ultralytics` (AGPL-3.0) or `compact` (permissive: torch alone)."""
    weights: str = ""
    """Checkpoint (.pt) to start from, relative to the config file; empty: random weights."""
    architecture: str = ""
    """Network to build where no weights are given; empty: the trainer's own choice."""
    width: Positive | None = None
    """Width multiple of the network; null: the architecture's own."""
    side_px: Side = 640
    epochs: Count = 40
    batch: Annotated[int, Field(ge=0)] = 16
    """Images a step; 0: chosen by the size of the set. Halved when memory does not suffice."""
    optimizer: str = "AdamW"
    learning_rate: Positive = 0.004
    final_rate_fraction: Fraction = 0.01
    """The rate falls in a line to this share of `learning_rate`."""
    weight_decay: NotNegative = 0.0005
    warmup_epochs: NotNegative = 3.0
    nominal_batch: Count = 64
    """Images an optimizer step gathers; on small sets as many as `batch` learns faster."""
    mosaic: Fraction = 0.5
    close_mosaic: Annotated[int, Field(ge=0)] = 8
    """Last epochs without mosaic."""
    flip_horizontal: Fraction = 0.5
    flip_vertical: Fraction = 0.0
    hue: Fraction = 0.015
    saturation: Fraction = 0.7
    brightness: Fraction = 0.4
    zoom: Fraction = 0.5
    shift: Fraction = 0.1
    seed: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(ge=0)] = 5
    """Epochs between the trainer's own measurements on `val`, for the curves; 0: none."""
    device: str = "auto"
    """`auto`: a GPU when there is one; `cpu`; or a GPU's number."""
    mixed_precision: bool = True
    """Whether a GPU that has bfloat16 computes in it; a CPU computes in float32."""
    threads: Count | None = None
    """CPU threads of the trainer; null: its own choice."""
    time_limit_s: Positive | None = None


class CalibrateConfig(_Section):
    """The calibration set of the release."""

    frames: Count = 20
    tolerances: Tolerances = Tolerances()


class EvaluateConfig(_Section):
    """The operating point, and what the figures are divided by."""

    score: Fraction = 0.25
    slices: str = ""
    """CSV beside data.yaml, or in the folder that `data` is, that gives images a value; empty:
    light, class and size alone."""
    slice_column: str = "slice"
    """Its column with the values."""


class GateConfig(_Section):
    """What a candidate must reach to become a release."""

    map50_min: Fraction = 0.0
    latency_ratio_max: Positive = 1.5
    quality_drop_max: Fraction = 0.05
    """Recall that a slice may lose against the parent, as a fraction of its labels."""
    quality_detectable_drop: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The drop that the test split must be able to show."""
    quality_alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Chance of refusing a candidate that is no worse than the parent anywhere."""
    quality_slices: bool = True
    """Whether slices are judged too, or all labels together alone."""
    quality_inconclusive: Literal["refuse", "warn"] = "refuse"
    """What too small a test split does."""
    quality_slices_inconclusive: Literal["refuse", "warn"] = "warn"
    """What too few labels in a slice do."""


class WeightsConfig(_Section):
    """What the manifest says of the weights."""

    license: str = ""
    """Empty: `AGPL-3.0` with Ultralytics, which names its licence for models trained with it, else
    `not stated`; see docs/licensing.md."""
    origin: str = ""
    """Empty: says which weights the training started from."""


class PipelineConfig(_Section):
    """Everything one pipeline needs to know."""

    line: Line
    semver: Semver
    data: Path
    """The dataset, relative to the config file: a data.yaml, a COCO annotation file, or a folder
    of either."""
    parent: str | None = None
    """Release to compare with: a bundle's folder (with a `/`), or a digest or semver in the
    workspace's store."""
    check: CheckConfig = CheckConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    calibrate: CalibrateConfig = CalibrateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    weights: WeightsConfig = WeightsConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.split.val_fraction + self.split.test_fraction >= 0.8:
            raise ValueError("split: val_fraction + test_fraction must leave 0.2 for train")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a pipeline's TOML file.

    Args:
        path: The file; relative paths in it start at its folder.
        overrides: `key=value` or `section.key=value` in TOML's notation; a value that is no
            TOML is text. Relative paths in them start at the current folder.

    Raises:
        ConfigError: No such file, no TOML, an unknown or missing key, an impossible value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"config {path}: expected a TOML file, found: {error.strerror}; "
            "see examples/neu-det/neu-det.toml",
            "config_missing",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"config {path}: expected TOML, found: {error}; correct that line"
        ) from error
    _make_absolute(values, path.parent)
    changes: dict[str, Any] = {}
    for text in overrides:
        _put(changes, text)
    _make_absolute(changes, Path.cwd())
    return _validate(_merged(values, changes), path)


def parse_value(text: str) -> Parameter:
    """A value as TOML writes it; `null` is None; anything else is text."""
    if text == "null":
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def split_assignment(text: str) -> tuple[str, str]:
    """`key=value` as (key, value).

    Raises:
        ConfigError: No `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"expected KEY=VALUE such as train.epochs=2, found {text!r}", "assignment_invalid"
        )
    return key.strip(), value.strip()


def _put(values: dict[str, Any], text: str) -> None:
    key, value = split_assignment(text)
    *sections, last = key.split(".")
    for name in sections:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {key}: {name} is a value, not a section")
    values[last] = parse_value(value)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _make_absolute(values: dict[str, Any], folder: Path) -> None:
    if isinstance(data := values.get("data"), str):
        values["data"] = _absolute(data, folder)
    train = values.get("train")
    if isinstance(train, dict) and isinstance(weights := train.get("weights"), str) and weights:
        train["weights"] = _absolute(weights, folder)
    split = values.get("split")
    if isinstance(split, dict) and isinstance(table := split.get("group_csv"), str) and table:
        split["group_csv"] = _absolute(table, folder)
    parent = values.get("parent")
    if isinstance(parent, str) and is_path(parent):
        values["parent"] = _absolute(parent, folder)


def is_path(parent: str) -> bool:
    """Whether a `parent` names a folder, not a digest or semver."""
    return "/" in parent


def _absolute(text: str, folder: Path) -> str:
    return os.path.abspath(folder / Path(text).expanduser())


def _validate(values: dict[str, Any], path: Path) -> PipelineConfig:
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        texts = [fault_text(fault) for fault in faults[:5]]
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ConfigError(
            f"config {path}: {'; '.join(texts)}{more}; see examples/neu-det/neu-det.toml"
        ) from error
