"""The calibration set of a release: frames, and what is to be found in them.

Invariant: what is expected comes from the trainer's checkpoint and from people, never from the
exported model that is judged by it. This file reads and writes `calibration/expected.json`;
who computes the expectation and who judges by it is not decided here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightloop.errors import BundleError
from sightloop.release.folder import read_member
from sightloop.release.manifest import EXPECTED_NAME, FRAMES_FOLDER
from sightloop.vision.detections import Detections, Labels

if TYPE_CHECKING:
    from sightloop.release.bundle import Bundle

EXPECTED_SCHEMA: Final = "sightloop.expected/1"
_EDGE_SLACK_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class FrameExpectation:
    """What is to be found in one frame.

    Attributes:
        frame: File name below `calibration/frames/`.
        width_px: Width of the decoded frame.
        height_px: Height of the decoded frame.
        labels: What people marked, frame px.
        detections: What the trainer's checkpoint found, frame px; None where there is none.
    """

    frame: str
    width_px: int
    height_px: int
    labels: Labels
    detections: Detections | None


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """The whole of expected.json: every frame once."""

    frames: tuple[FrameExpectation, ...]

    @property
    def source(self) -> Literal["checkpoint", "labels"]:
        """`checkpoint` if every frame carries the checkpoint's detections.

        Raises:
            BundleError: Some frames carry them and some do not.
        """
        given = [frame.detections is not None for frame in self.frames]
        if any(given) and not all(given):
            raise _invalid("the checkpoint's detections: expected for all frames or for none")
        return "checkpoint" if given and all(given) else "labels"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Box = tuple[float, float, float, float]


class _LabelsPart(_Part):
    boxes: list[_Box]
    classes: list[int]


class _DetectionsPart(_Part):
    boxes: list[_Box]
    classes: list[int]
    scores: list[float]


class _FramePart(_Part):
    frame: str
    width_px: int
    height_px: int
    labels: _LabelsPart
    detections: _DetectionsPart | None


class _File(_Part):
    schema_: str = Field(alias="schema")
    frames: list[_FramePart]


def _invalid(fault: str) -> BundleError:
    return BundleError(
        f"calibration/expected.json: {fault}; build the release again with "
        "`sightloop release build`",
        "expected_invalid",
    )


def expected_to_bytes(expected: Expected) -> bytes:
    """Canonical bytes of expected.json; float32 values survive the round trip bit for bit."""
    frames = [
        {
            "frame": frame.frame,
            "width_px": frame.width_px,
            "height_px": frame.height_px,
            "labels": {
                "boxes": frame.labels.boxes.tolist(),
                "classes": frame.labels.classes.tolist(),
            },
            "detections": None
            if frame.detections is None
            else {
                "boxes": frame.detections.boxes.tolist(),
                "classes": frame.detections.classes.tolist(),
                "scores": frame.detections.scores.tolist(),
            },
        }
        for frame in expected.frames
    ]
    value = {"schema": EXPECTED_SCHEMA, "frames": frames}
    return json.dumps(value, sort_keys=True, allow_nan=False).encode() + b"\n"


def expected_from_bytes(data: bytes, *, class_count: int) -> Expected:
    """Read expected.json.

    Args:
        data: The file's bytes.
        class_count: Length of the release's class list; every class index is below it.

    Raises:
        BundleError: expected_invalid: malformed, or values that cannot be (a box outside its
            frame, an unknown class, a score outside 0..1, a frame named twice).
    """
    try:
        file = _File.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _invalid(f"{where}: {first['msg']}") from error
    if file.schema_ != EXPECTED_SCHEMA:
        raise _invalid(f"schema: expected {EXPECTED_SCHEMA}, found {file.schema_!r}")
    names = [part.frame for part in file.frames]
    if len(set(names)) != len(names):
        raise _invalid("a frame stands twice")
    expected = Expected(tuple(_frame_of(part, class_count) for part in file.frames))
    _ = expected.source
    return expected


def _frame_of(part: _FramePart, class_count: int) -> FrameExpectation:
    check_frame_name(part.frame)
    if part.width_px < 1 or part.height_px < 1:
        raise _invalid(f"{part.frame}: expected a size of 1 px or more")
    labels = Labels(
        boxes=_boxes(part, part.labels.boxes), classes=_classes(part, part.labels, class_count)
    )
    detections = None
    if part.detections is not None:
        scores = part.detections.scores
        if len(scores) != len(part.detections.boxes):
            raise _invalid(f"{part.frame}: expected as many scores as boxes")
        if not all(0.0 <= score <= 1.0 for score in scores):
            raise _invalid(f"{part.frame}: expected scores in 0..1")
        detections = Detections(
            boxes=_boxes(part, part.detections.boxes),
            scores=np.asarray(scores, np.float32),
            classes=_classes(part, part.detections, class_count),
        )
    return FrameExpectation(part.frame, part.width_px, part.height_px, labels, detections)


def _boxes(part: _FramePart, boxes: list[_Box]) -> NDArray[np.float32]:
    limits = (part.width_px, part.height_px, part.width_px, part.height_px)
    for box in boxes:
        inside = all(
            math.isfinite(value) and -_EDGE_SLACK_PX <= value <= limit + _EDGE_SLACK_PX
            for value, limit in zip(box, limits, strict=True)
        )
        if not inside or box[2] < box[0] or box[3] < box[1]:
            raise _invalid(
                f"{part.frame}: expected boxes x1 y1 x2 y2 inside {part.width_px} x "
                f"{part.height_px} px, found {list(box)}"
            )
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _classes(
    part: _FramePart, boxed: _LabelsPart | _DetectionsPart, class_count: int
) -> NDArray[np.int64]:
    if len(boxed.classes) != len(boxed.boxes):
        raise _invalid(f"{part.frame}: expected as many classes as boxes")
    if not all(0 <= index < class_count for index in boxed.classes):
        raise _invalid(f"{part.frame}: expected class indices from 0 to {class_count - 1}")
    return np.asarray(boxed.classes, np.int64)


def load_calibration(bundle: Bundle) -> tuple[tuple[bytes, FrameExpectation], ...]:
    """Read a verified bundle's calibration set, every byte held against the manifest again.

    Returns:
        For each frame the image file's bytes and what is expected in it, in the order of
        expected.json.

    Raises:
        BundleError: A file changed since the bundle was verified, expected.json is malformed,
            or its frames or its source are not those the manifest names.
    """
    manifest = bundle.manifest
    expected = expected_from_bytes(
        read_member(bundle.folder, EXPECTED_NAME, manifest.files[EXPECTED_NAME]),
        class_count=len(manifest.classes),
    )
    paths = [f"{FRAMES_FOLDER}/{frame.frame}" for frame in expected.frames]
    if set(paths) != set(manifest.calibration.frames):
        raise _invalid("expected the frames that manifest.json names, found others")
    if expected.source != manifest.calibration.expected_from:
        raise _invalid(
            f"expected detections from {manifest.calibration.expected_from}, as manifest.json "
            f"says, found them from {expected.source}"
        )
    return tuple(
        (read_member(bundle.folder, path, manifest.files[path]), frame)
        for path, frame in zip(paths, expected.frames, strict=True)
    )


def check_frame_name(name: str) -> str:
    """Give `name` back if it is a plain file name.

    Raises:
        BundleError: expected_invalid: empty, with a folder in it, hidden, or with a NUL.
    """
    plain = PurePosixPath(name).name == name and "\\" not in name and "\0" not in name
    if not plain or not name or name.startswith("."):
        raise _invalid(f"expected a plain file name for a frame, found {name!r}")
    return name
