"""Tiny real detectors, and signed releases of them, built in code in milliseconds.

They answer real boxes on rendered plates without any training, so tests and the quick demo can
load, prove, serve and replace releases that are whole. Invariant: the detections a tiny release
expects come from the numpy reference run through `vision/`, never from its ONNX file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from sightloop.release.bundle import ManifestDraft, write_bundle
from sightloop.release.calibration import Expected, FrameExpectation
from sightloop.release.manifest import (
    InputContract,
    OutputContract,
    Preprocess,
    Thresholds,
    Weights,
)
from sightloop.release.signing import SigningKey
from sightloop.runtime.backend import ModelContract
from sightloop.runtime.loaded_release import postprocess_frame
from sightloop.testing.plates import PIT, PLATE_CLASSES, SPOT, render_plate
from sightloop.testing.tiny_network import (
    INPUT_NAME,
    OUTPUT_NAME,
    VARIANTS,
    Kind,
    TinyNetwork,
    build_graph,
    reference_output,
)
from sightloop.vision.decode import encode_png
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.preprocess import prepare

__all__ = [
    "CALIBRATION_SEED",
    "PIT",
    "PLATE_CLASSES",
    "SPOT",
    "VARIANTS",
    "Kind",
    "TinyNetwork",
    "build_tiny_detector",
    "build_tiny_release",
    "expected_detections",
    "render_plate",
    "tiny_draft",
]

CALIBRATION_SEED: Final = 1_000_000
"""Seed of a tiny release's first calibration frame; the next ones count up."""

_CREATED = "2026-01-01T00:00:00.000Z"
_SCORE_THRESHOLD = 0.25
_IOU_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    name: str
    image: bytes
    expectation: FrameExpectation


def build_tiny_detector(
    path: Path,
    *,
    kind: Kind = "both",
    variant: int = 0,
    side_px: int = 160,
    free_batch: bool = False,
) -> ModelContract:
    """Write a tiny detector as ONNX: classes `PLATE_CLASSES`, raw layout.

    Args:
        path: The file to write.
        kind: What it finds: `dark` pits, `bright` spots, or `both`.
        variant: 0 to 7: right, and told apart from the others on every frame.
        side_px: Side of its input, a multiple of 8.
        free_batch: Whether it takes any number of frames.

    Returns:
        Names and shapes of its input and output.
    """
    network = TinyNetwork(kind, variant, side_px, free_batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build_graph(network), path)
    return ModelContract(
        input_name=INPUT_NAME,
        input_shape=network.input_shape,
        output_name=OUTPUT_NAME,
        output_shape=network.output_shape,
        free_batch=free_batch,
    )


def tiny_draft(
    network: TinyNetwork, *, line: str = "plate", semver: str = "1.0.0", **overrides: Any
) -> ManifestDraft:
    """The manifest of a tiny release before its files; `overrides` are the draft's fields."""
    draft = ManifestDraft(
        line=line,
        semver=semver,
        created=_CREATED,
        classes=PLATE_CLASSES,
        input=InputContract(
            name=INPUT_NAME,
            shape=network.input_shape,
            batch="free" if network.free_batch else "fixed",
        ),
        preprocess=Preprocess(side_px=network.side_px),
        output=_output_contract(network),
        thresholds=Thresholds(score=_SCORE_THRESHOLD),
        weights=Weights(license="Apache-2.0", origin="sightloop.testing, fixed kernels"),
    )
    return replace(draft, **overrides)


def expected_detections(image: NDArray[np.uint8], network: TinyNetwork) -> Detections:
    """What the numpy reference finds in a frame, (H, W, 3) uint8 RGB; boxes in frame px."""
    tensor, placement = prepare(image, side_px=network.side_px)
    return postprocess_frame(
        reference_output(tensor, network),
        _output_contract(network),
        score_threshold=_SCORE_THRESHOLD,
        placement=placement,
        width_px=image.shape[1],
        height_px=image.shape[0],
    )


def build_tiny_release(
    folder: Path,
    *,
    line: str = "plate",
    semver: str,
    key: SigningKey,
    kind: Kind = "both",
    variant: int = 0,
    frames: int = 20,
    side_px: int = 160,
    free_batch: bool = False,
    model: Path | None = None,
    **overrides: Any,
) -> str:
    """Write a whole, signed release of a tiny detector.

    Args:
        folder: The bundle; absent or empty.
        line: Its model line.
        semver: Its version.
        key: What signs it.
        kind: What it finds.
        variant: 0 to 7.
        frames: Calibration frames: PNG, with labels and the reference's detections.
        side_px: Side of its input and of the calibration frames.
        free_batch: Whether its network takes any number of frames.
        model: Another ONNX file in the place of the detector's own: a bad candidate, whose
            expected detections stay the reference's.
        **overrides: Fields of the `ManifestDraft`.

    Returns:
        The release's digest.
    """
    network = TinyNetwork(kind, variant, side_px, free_batch)
    scenes = [_scene(index, network) for index in range(frames)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        file = model or Path(temporary) / "model.onnx"
        if model is None:
            build_tiny_detector(
                file, kind=kind, variant=variant, side_px=side_px, free_batch=free_batch
            )
        bundle = write_bundle(
            folder,
            model=file,
            draft=tiny_draft(network, line=line, semver=semver, **overrides),
            frames=[(scene.name, scene.image) for scene in scenes],
            expected=Expected(tuple(scene.expectation for scene in scenes)),
            key=key,
        )
    return bundle.digest


def _scene(index: int, network: TinyNetwork) -> _Scene:
    frame, labels = render_plate(CALIBRATION_SEED + index, side_px=network.side_px)
    name = f"plate-{index:03d}.png"
    expectation = FrameExpectation(
        frame=name,
        width_px=network.side_px,
        height_px=network.side_px,
        labels=_labels_of_kind(labels, network.kind),
        detections=expected_detections(frame, network),
    )
    return _Scene(name=name, image=encode_png(frame), expectation=expectation)


def _labels_of_kind(labels: Labels, kind: Kind) -> Labels:
    wanted: Sequence[int] = {"dark": (PIT,), "bright": (SPOT,), "both": (PIT, SPOT)}[kind]
    chosen = [index for index, value in enumerate(labels.classes.tolist()) if value in wanted]
    return Labels(boxes=labels.boxes[chosen], classes=labels.classes[chosen])


def _output_contract(network: TinyNetwork) -> OutputContract:
    return OutputContract(
        name=OUTPUT_NAME,
        shape=network.output_shape,
        layout="raw",
        iou_threshold=_IOU_THRESHOLD,
    )
