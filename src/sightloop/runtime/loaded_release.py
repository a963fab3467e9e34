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
from sightloop.errors import BackendError, ImageError, ModelContractError, SightloopError
from sightloop.release.manifest import MODEL_NAME, Manifest, OutputContract
from sightloop.runtime.backend import (
    OUTPUT_ABSOLUTE,
    OUTPUT_RELATIVE,
    Backend,
    ModelContract,
    different_frames,
)
from sightloop.runtime.compute import ON_CPU, Compute, FrameBatch
from sightloop.runtime.open_network import NetworkFile, open_network
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


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """One decoded image on its way into the network."""

    frame: NDArray[np.uint8]
    tensor: NDArray[np.float32]
    placement: Placement
    decode_ms: float
    preprocess_ms: float


class LoadedRelease:
    """A release that answers. One thread at a time calls it.

    On the CPU with one thread a run, several may: a trial does (docs/adr/0015).

    Attributes:
        manifest: What the release says of itself.
        digest: SHA-256 of its manifest's bytes.
        batch_max: Most images that `answer_batch` runs together; 1: each alone.
    """

    def __init__(
        self,
        backend: Backend,
        manifest: Manifest,
        digest: str,
        *,
        batch_max: int = 1,
        clock: Clock | None = None,
    ) -> None:
        """Join a network to its manifest.

        Args:
            backend: The network.
            manifest: What the release says of itself.
            digest: Of the release.
            batch_max: Most images to run together; 1 where the network takes one only.
            clock: Where the parts' times come from; the machine's when None.

        Raises:
            ModelContractError: The network's names or shapes are not the manifest's.
        """
        check_contract(backend.contract, manifest)
        self.manifest = manifest
        self.digest = digest
        self.batch_max = batch_max if backend.contract.free_batch else 1
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
        (answer,) = self.answer_batch((image,), limits=limits)
        if isinstance(answer, SightloopError):
            raise answer
        return answer

    def answer_batch(
        self, images: Sequence[bytes], *, limits: DecodeLimits = DEFAULT_LIMITS
    ) -> list[Answer | SightloopError]:
        """Answer several images by one run of the network, each as if it were alone.

        An image that does not decode, or whose output is no answer, costs none of the others
        theirs. If the run itself fails, each is tried alone.

        Args:
            images: JPEG, PNG or BMP; at most `batch_max` of them.
            limits: What is refused unseen.

        Returns:
            For each image, in order, its answer or the error that `answer` raises. An answer's
            inference time is its equal share of the run.
        """
        prepared = [self._prepare(image, limits) for image in images]
        sound = [item for item in prepared if isinstance(item, _Prepared)]
        answers = iter(self._run(sound))
        return [item if isinstance(item, SightloopError) else next(answers) for item in prepared]

    def _prepare(self, image: bytes, limits: DecodeLimits) -> _Prepared | SightloopError:
        started = self._clock.monotonic_s()
        try:
            frame = decode_image(image, limits=limits)
        except ImageError as error:
            return error
        return self._fit(frame, started)

    def answer_frame(self, frame: NDArray[np.uint8]) -> Answer:
        """Detect in one decoded frame at the release's own threshold.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            As `answer`.

        Raises:
            FrameShapeError, BackendError: As `detect`.
        """
        (answer,) = self._run((self._fit(frame, self._clock.monotonic_s()),))
        if isinstance(answer, SightloopError):
            raise answer
        return answer

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

    def _fit(self, frame: NDArray[np.uint8], started: float) -> _Prepared:
        decoded = self._clock.monotonic_s()
        preprocess = self.manifest.preprocess
        tensor, placement = prepare(frame, side_px=preprocess.side_px, pad=preprocess.pad)
        prepared = self._clock.monotonic_s()
        return _Prepared(
            frame=frame,
            tensor=tensor,
            placement=placement,
            decode_ms=(decoded - started) * 1000,
            preprocess_ms=(prepared - decoded) * 1000,
        )

    def _run(self, items: Sequence[_Prepared]) -> list[Answer | SightloopError]:
        if not items:
            return []
        alone = len(items) == 1
        started = self._clock.monotonic_s()
        try:
            tensor = items[0].tensor if alone else np.concatenate([i.tensor for i in items])
            raw = self._backend.run(tensor)
        except BackendError as error:
            return [error] if alone else [self._run((item,))[0] for item in items]
        share_ms = (self._clock.monotonic_s() - started) * 1000 / len(items)
        return [self._finish(item, raw[n : n + 1], share_ms) for n, item in enumerate(items)]

    def _finish(
        self, item: _Prepared, raw: NDArray[np.float32], inference_ms: float
    ) -> Answer | SightloopError:
        started = self._clock.monotonic_s()
        try:
            detections = self._read(raw, item.placement, item.frame, None)
        except BackendError as error:
            return error
        ended = self._clock.monotonic_s()
        return Answer(
            detections=detections,
            width_px=item.frame.shape[1],
            height_px=item.frame.shape[0],
            decode_ms=item.decode_ms,
            preprocess_ms=item.preprocess_ms,
            inference_ms=inference_ms,
            postprocess_ms=(ended - started) * 1000,
        )

    def warm_up(self, *, runs: int) -> None:
        """Run frames that nobody asked for, so that no later one finds anything cold.

        Where frames are run together, every number of them is run, the largest first: the memory
        that it takes serves the smaller ones too. Each frame's output must then be what it is
        alone.

        Raises:
            BackendError: The network failed, gave no answer, or answers a frame among others
                differently (`batch_differs`).
        """
        side = self.manifest.preprocess.side_px
        frames = different_frames(self.batch_max, side)
        for count in range(self.batch_max, 1, -1):
            together = self._backend.run(frames[:count])
            if count == self.batch_max:
                self._check_batch(frames, together)
        grey = np.full((side, side, 3), self.manifest.preprocess.pad, np.uint8)
        for _ in range(runs):
            self.detect(grey)

    def _check_batch(self, frames: NDArray[np.float32], together: NDArray[np.float32]) -> None:
        for number in range(len(frames)):
            alone = self._backend.run(frames[number : number + 1])
            same = together[number : number + 1]
            if same.shape != alone.shape or not np.allclose(
                same, alone, rtol=OUTPUT_RELATIVE, atol=OUTPUT_ABSOLUTE
            ):
                raise BackendError(
                    f"network: expected frame {number + 1} of {len(frames)} run together to get "
                    "the output that it gets alone, found another; export it with a batch "
                    "dimension that is free throughout, or with batch 1",
                    reason="batch_differs",
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
    compute: Compute = ON_CPU,
    clock: Clock | None = None,
) -> LoadedRelease:
    """Load the network of a verified bundle; compiles its engine where that is missing.

    OpenCV's thread count is set to the network's too: it is one for the whole process.

    Args:
        folder: The bundle.
        manifest: Its manifest, as verified.
        digest: Its digest, as verified.
        compute: What runs it.
        clock: Where the parts' times come from; the machine's when None.

    Returns:
        A release that answers; not yet warmed up.

    Raises:
        ProviderUnavailableError: The provider is not there, or does not take this network.
        ModelLoadError: The weights cannot be loaded.
        ModelContractError: The network's names or shapes are not the manifest's.
    """
    cv2.setNumThreads(compute.threads)
    backend = open_network(network_of(folder, manifest, digest), compute)
    try:
        return LoadedRelease(backend, manifest, digest, batch_max=compute.batch_max, clock=clock)
    except ModelContractError:
        backend.close()
        raise


def network_of(folder: Path, manifest: Manifest, digest: str) -> NetworkFile:
    """The network of a verified bundle, for `open_network.py`."""
    free = manifest.input.batch == "free"
    batch = FrameBatch(manifest.input.name, manifest.input.shape[1:]) if free else None
    return NetworkFile(folder / MODEL_NAME, digest, batch)


def check_contract(found: ModelContract, manifest: Manifest) -> None:
    """Hold a network's names and shapes against a manifest.

    Raises:
        ModelContractError: The first difference (`input_name`, `input_shape`, `input_batch`,
            `output_name` or `output_shape` is the reason's beginning, `_differs` its end).
    """
    pairs: Sequence[tuple[str, object, object]] = (
        ("input_name", manifest.input.name, found.input_name),
        ("input_shape", tuple(manifest.input.shape), found.input_shape),
        ("input_batch", manifest.input.batch, "free" if found.free_batch else "fixed"),
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
