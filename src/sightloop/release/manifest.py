"""manifest.json: the signed statement of what a release is.

Invariant: a `Manifest` that exists is well formed; whether the files beside it are those it
names is `bundle.py`'s business. Identity = line + semver + digest; digest = SHA-256 of
manifest.json's bytes, as they lie on disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sightloop.errors import ManifestInvalidError

SCHEMA: Final = "sightloop.release/1"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
MODEL_NAME = "model.onnx"
CARD_NAME = "MODEL_CARD.md"
CALIBRATION_FOLDER = "calibration"
FRAMES_FOLDER = "calibration/frames"
EXPECTED_NAME = "calibration/expected.json"

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_LINE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_semver(text: str) -> tuple[int, int, int]:
    """`1.10.0` as (1, 10, 0), which orders as versions do.

    Raises:
        ValueError: Not `MAJOR.MINOR.PATCH` in digits without leading zeros.
    """
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(f"expected MAJOR.MINOR.PATCH such as 1.4.0, found {text!r}")
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


def _check_semver(text: str) -> str:
    parse_semver(text)
    return text


def check_line(text: str) -> str:
    """Give `text` back if it can name a model line.

    Raises:
        ValueError: Not 1 to 63 of a-z, 0-9 and dash, starting with a letter or digit.
    """
    if _LINE.fullmatch(text) is None:
        raise ValueError(f"expected 1 to 63 of a-z, 0-9 and '-', found {text!r}")
    return text


def check_relative_path(text: str) -> str:
    """Give `text` back if it names a file inside a bundle.

    Raises:
        ValueError: Absolute, empty, with `..`, `.`, a backslash or a NUL.
    """
    path = PurePosixPath(text)
    clean = not path.is_absolute() and path.as_posix() == text and "\\" not in text
    if not clean or "\0" in text or not path.parts or ".." in path.parts or "." in path.parts:
        raise ValueError(f"expected a path inside the bundle, found {text!r}")
    return text


def _check_sha256(text: str) -> str:
    if _SHA256.fullmatch(text) is None:
        raise ValueError(f"expected 64 hexadecimal digits, found {text!r}")
    return text


Semver = Annotated[str, AfterValidator(_check_semver)]
Line = Annotated[str, AfterValidator(check_line)]
RelativePath = Annotated[str, AfterValidator(check_relative_path)]
Sha256 = Annotated[str, AfterValidator(_check_sha256)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class InputContract(_Part):
    """What the network takes."""

    name: str
    shape: tuple[int, int, int, int]
    """(1, 3, side, side)."""
    batch: Literal["fixed", "free"] = "fixed"
    """`free`: the first size of input and output is free in the file, and frames that wait may be
    run together."""
    dtype: Literal["float32"] = "float32"
    layout: Literal["NCHW"] = "NCHW"
    colour: Literal["RGB"] = "RGB"


class Preprocess(_Part):
    """How a frame becomes the input: letterboxed to a square, divided by 255."""

    kind: Literal["letterbox"] = "letterbox"
    side_px: Annotated[int, Field(ge=32, le=4096)]
    pad: Annotated[int, Field(ge=0, le=255)] = 114
    scale: float = 1 / 255


class OutputContract(_Part):
    """What the network gives."""

    name: str
    shape: tuple[int, int, int]
    """(1, 4 + C, N) for `raw`, (1, N, 6) for `end_to_end`."""
    layout: Literal["raw", "end_to_end"]
    """`raw`: cx cy w h in input px, then one score a class, class-wise NMS here.
    `end_to_end`: x1 y1 x2 y2 in input px, score, class; no NMS."""
    iou_threshold: Fraction = 0.7
    max_candidates: Annotated[int, Field(ge=1)] = 1000
    max_detections: Annotated[int, Field(ge=1)] = 300


class Thresholds(_Part):
    """Operating point."""

    score: Fraction = 0.25


class Tolerances(_Part):
    """How far a candidate's detections may lie from what the calibration set expects."""

    match_iou: Fraction = 0.5
    """A detection matches an expected box or a label of its class from this overlap on."""
    matched_min: Fraction = 0.95
    """Share of the checkpoint's detections found again, and share of the candidate's own
    detections that the checkpoint has."""
    score_difference_max: Fraction = 0.05
    """Median of |score - expected score| over matches."""
    offset_max_px: Annotated[float, Field(gt=0)] = 0.5
    """Median signed offset of matched box edges against expected boxes, input px, x and y."""
    label_recall_min: Fraction = 0.3
    """Share of the human labels found at the operating threshold: small general detectors on
    crowded scenes reach 0.45, wrong weights nearly nothing."""
    label_offset_max_px: Annotated[float, Field(gt=0)] = 1.2
    """Median signed offset against human labels, input px, when there is no checkpoint."""


class Calibration(_Part):
    """The calibration set inside the bundle."""

    frames: tuple[RelativePath, ...]
    expected_from: Literal["checkpoint", "labels"]
    """`checkpoint`: expected.json holds the trainer's detections and the labels; `labels`:
    labels alone."""
    tolerances: Tolerances = Tolerances()


class Weights(_Part):
    """Where the weights come from and what may be done with them."""

    license: str
    origin: str


class LatencyBaseline(_Part):
    """What one frame cost where the release was built."""

    hardware: str
    cpu_ms_p50: Annotated[float, Field(gt=0)]
    cpu_ms_p99: Annotated[float, Field(gt=0)]


class Lineage(_Part):
    """Where the release comes from. Unknown is said as None, never guessed."""

    run: str | None = None
    parent: str | None = None
    """Digest of the release whose checkpoint the training started from."""
    dataset_version: str | None = None
    git_commit: str | None = None
    checkpoint_sha256: Sha256 | None = None
    hyperparameters: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    toolchain: dict[str, str] = Field(default_factory=dict)


class Metrics(_Part):
    """Quality on the test split, measured on the exported file through `runtime/`."""

    map50: Fraction | None = None
    map50_95: Fraction | None = None
    per_class_ap50: dict[str, float | None] = Field(default_factory=dict)
    per_slice_ap50: dict[str, float | None] = Field(default_factory=dict)


class Manifest(_Part):
    """The whole of manifest.json."""

    schema_: Literal["sightloop.release/1"] = Field(SCHEMA, alias="schema")
    line: Line
    semver: Semver
    created: str
    files: dict[RelativePath, FileEntry]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputContract
    preprocess: Preprocess
    output: OutputContract
    thresholds: Thresholds
    calibration: Calibration
    weights: Weights
    latency: LatencyBaseline | None = None
    lineage: Lineage = Lineage()
    metrics: Metrics = Metrics()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("files")
    @classmethod
    def _has_required_files(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in (MODEL_NAME, EXPECTED_NAME):
            if name not in files:
                raise ValueError(f"expected an entry for {name}")
        for name in (MANIFEST_NAME, SIGNATURE_NAME):
            if name in files:
                raise ValueError(f"{name} cannot list itself")
        return files

    @model_validator(mode="after")
    def _fits_together(self) -> Manifest:
        side = self.preprocess.side_px
        if self.input.shape != (1, 3, side, side):
            raise ValueError(
                f"input.shape: expected (1, 3, {side}, {side}), found {self.input.shape}"
            )
        rows = 4 + len(self.classes)
        if self.output.layout == "raw" and self.output.shape[1] != rows:
            raise ValueError(f"output.shape: expected (1, {rows}, N), found {self.output.shape}")
        if self.output.layout == "end_to_end" and self.output.shape[2] != 6:
            raise ValueError(f"output.shape: expected (1, N, 6), found {self.output.shape}")
        if missing := [name for name in self.calibration.frames if name not in self.files]:
            raise ValueError(f"calibration.frames: {missing[0]} is not among files")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name stands twice")
        return self


def digest_of(manifest_bytes: bytes) -> str:
    """The release's digest: hex SHA-256 of manifest.json's bytes."""
    return hashlib.sha256(manifest_bytes).hexdigest()


def manifest_to_bytes(manifest: Manifest) -> bytes:
    """Canonical bytes of a manifest: what is hashed, signed and written."""
    value = manifest.model_dump(mode="json", by_alias=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def manifest_from_bytes(data: bytes) -> Manifest:
    """Read manifest.json.

    Raises:
        ManifestInvalidError: Not JSON, an unknown or missing key, an impossible value.
    """
    try:
        return Manifest.model_validate_json(data, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_NAME
        raise ManifestInvalidError(
            f"manifest.json: {where}: {first['msg']} ({error.error_count()} fault(s) in all); "
            "build the release again with `sightloop release build`"
        ) from error
