"""A release in memory: its network with its own pre- and postprocessing, classes and label.

Invariant: everything that an answer depends on, and the name it is given under, hang on one
immutable object; a reader takes one reference and cannot mix two releases. Files were verified
before (`release/bundle.py`); nothing is fetched, judged or switched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop._support.clock import Clock, SystemClock
from sightloop.errors import BackendError, ModelContractError
from sightloop.release.manifest import MODEL_NAME, Manifest, OutputContract
from sightloop.runtime.backend import Backend, ModelContract
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.vision.decode import DEFAULT_LIMITS, DecodeLimits, decode_image
from sightloop.vision.detections import Detections
from sightloop.vision.postprocess import decode_output
from sightloop.vision.preprocess import Placement, prepare


@dataclass(frozen=True, slots=True)
class Answer:
    """What a release says about one image, and what each part of it took (wall time)."""

    detections: Detections
    width_px: int
    height_px: int
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float


class LoadedRelease:
    """A release that answers. One thread at a time calls `detect` or `answer`.

    Attributes:
        manifest: What the release says of itself.
        digest: SHA-256 of its manifest's bytes.
    """

    def __init__(
        self,
        backend: Backend,
        manifest: Manifest,
        digest: str,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Join a network to its manifest.

        Raises:
            ModelContractError: The network's names or shapes are not the manifest's.
        """
        check_contract(backend.contract, manifest)
        self.manifest = manifest
        self.digest = digest
        self._backend = backend
        self._clock = clock or SystemClock()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the class index."""
        return self.manifest.classes

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        """Detect in one frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            score_threshold: Detections score above this; the release's own when None.

        Returns:
            Detections in pixels of the frame, best first.

        Raises:
            FrameShapeError: `frame` is no frame.
            BackendError: The network failed, or gave what is no output of its layout.
        """
        preprocess = self.manifest.preprocess
        tensor, placement = prepare(frame, side_px=preprocess.side_px, pad=preprocess.pad)
        raw = self._backend.run(tensor)
        return self._read(raw, placement, frame, score_threshold)

    def answer(self, image: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> Answer:
        """Decode one image and detect in it at the release's own threshold.

        Args:
            image: JPEG, PNG or BMP.
            limits: What is refused unseen.

        Returns:
            Detections in pixels of the decoded frame, its size, and the parts' times.

        Raises:
            ImageError: The bytes are no allowed image.
            BackendError: As `detect`.
        """
        started = self._clock.monotonic_s()
        frame = decode_image(image, limits=limits)
        return self._answer(frame, started)

    def answer_frame(self, frame: NDArray[np.uint8]) -> Answer:
        """Detect in one decoded frame at the release's own threshold.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            As `answer`.

        Raises:
            FrameShapeError, BackendError: As `detect`.
        """
        return self._answer(frame, self._clock.monotonic_s())

    def run_tensor(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Run the bare network: no preprocessing before, no reading of boxes behind.

        Args:
            tensor: float32 of the manifest's `input.shape`.

        Returns:
            The raw output, float32 of `output.shape`, and the milliseconds it took.

        Raises:
            BackendError: Another shape, or the network failed.
        """
        started = self._clock.monotonic_s()
        raw = self._backend.run(tensor)
        return raw, (self._clock.monotonic_s() - started) * 1000

    def _answer(self, frame: NDArray[np.uint8], started: float) -> Answer:
        decoded = self._clock.monotonic_s()
        preprocess = self.manifest.preprocess
        tensor, placement = prepare(frame, side_px=preprocess.side_px, pad=preprocess.pad)
        prepared = self._clock.monotonic_s()
        raw = self._backend.run(tensor)
        inferred = self._clock.monotonic_s()
        detections = self._read(raw, placement, frame, None)
        ended = self._clock.monotonic_s()
        return Answer(
            detections=detections,
            width_px=frame.shape[1],
            height_px=frame.shape[0],
            decode_ms=(decoded - started) * 1000,
            preprocess_ms=(prepared - decoded) * 1000,
            inference_ms=(inferred - prepared) * 1000,
            postprocess_ms=(ended - inferred) * 1000,
        )

    def close(self) -> None:
        """Give the network's memory back. Nothing may be asked afterwards."""
        self._backend.close()

    def _read(
        self,
        raw: NDArray[np.float32],
        placement: Placement,
        frame: NDArray[np.uint8],
        score_threshold: float | None,
    ) -> Detections:
        threshold = self.manifest.thresholds.score if score_threshold is None else score_threshold
        found = postprocess_frame(
            raw,
            self.manifest.output,
            score_threshold=threshold,
            placement=placement,
            width_px=frame.shape[1],
            height_px=frame.shape[0],
        )
        check_classes(found, self.classes)
        return found


def load_release(
    folder: Path,
    manifest: Manifest,
    digest: str,
    *,
    threads: int = 1,
    clock: Clock | None = None,
) -> LoadedRelease:
    """Load the network of a verified bundle.

    OpenCV's thread count is set to `threads` too: it is one for the whole process.

    Args:
        folder: The bundle.
        manifest: Its manifest, as verified.
        digest: Its digest, as verified.
        threads: Threads of one inference, the caller's among them.
        clock: Where the parts' times come from; the machine's when None.

    Returns:
        A release that answers; not yet warmed up.

    Raises:
        ModelLoadError: The weights cannot be loaded.
        ModelContractError: The network's names or shapes are not the manifest's.
    """
    cv2.setNumThreads(threads)
    backend = open_onnx(folder / MODEL_NAME, threads=threads)
    try:
        return LoadedRelease(backend, manifest, digest, clock=clock)
    except ModelContractError:
        backend.close()
        raise


def check_contract(found: ModelContract, manifest: Manifest) -> None:
    """Hold a network's names and shapes against a manifest.

    Raises:
        ModelContractError: The first difference (`input_name`, `input_shape`, `output_name`
            or `output_shape` is the reason's beginning, `_differs` its end).
    """
    pairs: Sequence[tuple[str, object, object]] = (
        ("input_name", manifest.input.name, found.input_name),
        ("input_shape", tuple(manifest.input.shape), found.input_shape),
        ("output_name", manifest.output.name, found.output_name),
        ("output_shape", tuple(manifest.output.shape), found.output_shape),
    )
    for name, expected, value in pairs:
        if expected != value:
            raise ModelContractError(
                f"model of {manifest.line} {manifest.semver}: {name.replace('_', ' ')}: expected "
                f"{expected} as in the manifest, found {value}; build the release from this model",
                reason=f"{name}_differs",
            )


def check_classes(detections: Detections, classes: Sequence[str]) -> None:
    """Make sure that every detection has a name.

    Raises:
        BackendError: A class index outside of `classes` (`class_unknown`).
    """
    found = detections.classes
    if len(found) and (int(found.min()) < 0 or int(found.max()) >= len(classes)):
        raise BackendError(
            f"network output: expected classes 0 to {len(classes) - 1}, found {int(found.min())} "
            f"to {int(found.max())}; the class list is not that of this model",
            reason="class_unknown",
        )


def postprocess_frame(
    raw: NDArray[np.float32],
    output: OutputContract,
    *,
    score_threshold: float,
    placement: Placement,
    width_px: int,
    height_px: int,
) -> Detections:
    """Read a raw output of this layout, from whatever ran the network.

    Args:
        raw: float32 of `output.shape`.
        output: The manifest's word on layout and suppression.
        score_threshold: Detections score above this.
        placement: Where the frame lay in the input.
        width_px: Width of the frame.
        height_px: Height of the frame.

    Returns:
        Detections in pixels of the frame, clipped to it, best first.

    Raises:
        BackendError: Not an output of this layout, or not finite.
    """
    found = decode_output(
        raw,
        layout=output.layout,
        score_threshold=score_threshold,
        iou_threshold=output.iou_threshold,
        max_candidates=output.max_candidates,
        max_detections=output.max_detections,
    )
    boxes = placement.to_frame(found.boxes, width_px=width_px, height_px=height_px)
    return Detections(boxes=boxes, scores=found.scores, classes=found.classes)


def detections_as_json(
    detections: Detections, classes: Sequence[str]
) -> list[dict[str, str | int | float | list[float]]]:
    """Detections as plain JSON values, unrounded, so that they can be compared bit by bit.

    Returns:
        For each: `class` (name), `class_id`, `score`, `box` (x1 y1 x2 y2, px of the frame).
    """
    rows = zip(
        detections.classes.tolist(),
        detections.scores.tolist(),
        detections.boxes.tolist(),
        strict=True,
    )
    return [
        {"class": classes[index], "class_id": index, "score": score, "box": box}
        for index, score, box in rows
    ]
