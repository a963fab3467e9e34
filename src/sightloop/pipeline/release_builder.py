"""A signed release out of an exported network and a labelled dataset, without training.

Calibration frames are chosen by their labels, never by an answer of the network that they will
judge. Figures are measured through `runtime/` and `vision/`, the code that serves. What is
written is not yet proven: the gates judge it when it is to serve.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sightloop._support.clock import Clock, SystemClock, utc_text
from sightloop._support.files import sha256_file
from sightloop._support.hardware import describe_hardware
from sightloop.dataset.fingerprint import dataset_version
from sightloop.dataset.reading import read_dataset
from sightloop.dataset.version import Dataset, Split
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ConfigError, DatasetError, ModelContractError
from sightloop.gates.latency import time_in_turn
from sightloop.pipeline.evaluation import (
    Evaluation,
    LabelledFrame,
    evaluate_items,
    prepare_for,
    read_frame,
)
from sightloop.pipeline.exported_model import ModelContractFile
from sightloop.pipeline.steps.calibrate import choose_frames
from sightloop.release.bundle import Bundle, ManifestDraft, write_bundle
from sightloop.release.calibration import Expected, FrameExpectation
from sightloop.release.manifest import (
    InputContract,
    LatencyBaseline,
    Lineage,
    Metrics,
    OutputContract,
    Preprocess,
    Thresholds,
    Weights,
    check_line,
    parse_semver,
)
from sightloop.release.signing import SigningKey, TrustStore
from sightloop.runtime.backend import Backend, ModelContract
from sightloop.runtime.loaded_release import postprocess_frame
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.vision.average_precision import ApReport
from sightloop.vision.detections import Detections

LATENCY_RUNS: Final = 20
Progress = Callable[[float, str], None]
Layout = Literal["raw", "end_to_end"]


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """What to build.

    Attributes:
        onnx: The exported network.
        data: A data.yaml, a COCO annotation file, or a folder of either; labels are needed.
        line: Model line.
        semver: Version.
        split: The part of the dataset that is measured and gives the calibration frames.
        frames: How many calibration frames.
        score: Operating threshold.
        layout: Of the output; None reads it off the shape.
        license: What may be done with the weights.
        origin: Where the weights come from.
        parent: Digest of the release they were trained from.
    """

    onnx: Path
    data: Path
    line: str
    semver: str
    split: Split = "val"
    frames: int = 20
    score: float = 0.25
    layout: Layout | None = None
    license: str = "not stated"
    origin: str | None = None
    parent: str | None = None


def no_progress(fraction: float, text: str) -> None:
    """For callers who show none."""


def build_release(
    spec: BuildSpec,
    *,
    folder: Path,
    key: SigningKey,
    clock: Clock | None = None,
    progress: Progress = no_progress,
) -> Bundle:
    """Measure, write and sign a release.

    Args:
        spec: What to build.
        folder: Where to write: absent or empty.
        key: What signs it.
        clock: For the date of creation.
        progress: Called with the done fraction and a short text.

    Raises:
        ConfigError: The line's name, the semver or a number cannot be.
        DatasetError: The dataset cannot be read, or its split has no labels.
        ImageError: An image does not decode.
        ModelLoadError: The network cannot be loaded.
        ModelContractError: It is no detector of these classes.
    """
    _check_spec(spec)
    dataset = read_dataset(spec.data)
    items = dataset.of(spec.split)
    if not items:
        raise DatasetError(
            f"{spec.data}: split {spec.split}: expected labelled images to measure on, found none; "
            "name another --split",
            reason="split_empty",
        )
    backend = open_onnx(spec.onnx)
    try:
        contract = contract_of_network(backend.contract, dataset.classes, layout=spec.layout)
        evaluation = evaluate_items(
            backend, contract, items, progress=lambda done, text: progress(0.9 * done, text)
        )
        chosen = _choose(evaluation, spec, class_count=len(dataset.classes))
        progress(0.92, "latency")
        latency = _measure_latency(backend, contract, chosen)
    finally:
        backend.close()
    progress(0.96, "sign")
    named = [
        (f"{number:03d}{PurePosixPath(frame.item.name).suffix.lower()}", frame)
        for number, frame in enumerate(chosen)
    ]
    return write_bundle(
        folder,
        model=spec.onnx,
        draft=ManifestDraft(
            line=spec.line,
            semver=spec.semver,
            created=utc_text((clock or SystemClock()).wall_s()),
            classes=contract.classes,
            input=contract.input,
            preprocess=contract.preprocess,
            output=contract.output,
            weights=Weights(license=spec.license, origin=_origin(spec)),
            thresholds=Thresholds(score=spec.score),
            latency=latency,
            lineage=_lineage(spec, dataset),
            metrics=metrics_of(evaluation.report, dataset.classes),
        ),
        frames=[(name, frame.data) for name, frame in named],
        expected=Expected(
            tuple(
                FrameExpectation(name, frame.width_px, frame.height_px, frame.labels, None)
                for name, frame in named
            )
        ),
        key=key,
    )


def build_into_store(
    spec: BuildSpec,
    *,
    store: ReleaseStore,
    trust: TrustStore,
    key: SigningKey,
    progress: Progress = no_progress,
) -> Bundle:
    """Build as `build_release`, and put the release into a store."""
    with tempfile.TemporaryDirectory(prefix="sightloop-") as temporary:
        built = build_release(spec, folder=Path(temporary) / "release", key=key, progress=progress)
        return store.add(built.folder, trust)


def _check_spec(spec: BuildSpec) -> None:
    try:
        check_line(spec.line)
        parse_semver(spec.semver)
    except ValueError as error:
        raise ConfigError(f"release: {error}", "release_name_invalid") from error
    if spec.frames < 1 or not 0.0 < spec.score < 1.0:
        raise ConfigError(
            f"release: expected 1 or more --frames and a --score between 0 and 1, found "
            f"{spec.frames} and {spec.score:g}"
        )


def contract_of_network(
    found: ModelContract, classes: tuple[str, ...], *, layout: Layout | None = None
) -> ModelContractFile:
    """Read off a network's shapes how it is fed and read.

    Args:
        found: Names and shapes, as the file states them.
        classes: The class list; a raw output has one row a class.
        layout: Of the output, where the shape fits both.

    Raises:
        ModelContractError: input_shape, classes_do_not_fit, or layout_ambiguous.
    """
    shape = found.input_shape
    if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3]:
        raise ModelContractError(
            f"network input {found.input_name}: expected (1, 3, S, S), found {shape}; export a "
            "square input with batch 1",
            "input_shape",
        )
    return ModelContractFile(
        classes=classes,
        input=InputContract(
            name=found.input_name,
            shape=(1, 3, shape[2], shape[2]),
            batch="free" if found.free_batch else "fixed",
        ),
        preprocess=Preprocess(side_px=shape[2]),
        output=_output_of(found, len(classes), layout),
    )


def _output_of(found: ModelContract, class_count: int, layout: Layout | None) -> OutputContract:
    shape = found.output_shape
    three = len(shape) == 3 and shape[0] == 1
    fitting: list[Layout] = []
    if three and shape[1] == 4 + class_count:
        fitting.append("raw")
    if three and shape[2] == 6:
        fitting.append("end_to_end")
    chosen = [name for name in fitting if layout in (None, name)]
    if not chosen:
        raise ModelContractError(
            f"network output {found.output_name}: expected (1, {4 + class_count}, N) for "
            f"{class_count} classes, or (1, N, 6) end to end, found {shape}"
            f"{f' with --layout {layout}' if layout else ''}; the classes of the dataset must be "
            "those of the network's training",
            "classes_do_not_fit",
        )
    if len(chosen) > 1:
        raise ModelContractError(
            f"network output {found.output_name}: {shape} fits both layouts; name one with "
            "--layout raw or --layout end_to_end",
            "layout_ambiguous",
        )
    return OutputContract(
        name=found.output_name, shape=(shape[0], shape[1], shape[2]), layout=chosen[0]
    )


def _choose(evaluation: Evaluation, spec: BuildSpec, *, class_count: int) -> list[LabelledFrame]:
    """The calibration frames, read again: only the labels of all frames are held at once."""
    nothing = np.zeros((1, 1, 3), np.uint8)
    labelled = [
        LabelledFrame(item=item, data=b"", frame=nothing, labels=labels)
        for item, labels in zip(evaluation.items, evaluation.labels, strict=True)
    ]
    chosen = choose_frames(labelled, count=spec.frames, class_count=class_count)
    if not chosen:
        raise DatasetError(
            f"{spec.data}: split {spec.split}: expected images with labelled boxes to calibrate "
            "on, found none; label some or name another --split",
            "labels_missing",
        )
    return [read_frame(frame.item, class_count=class_count) for frame in chosen]


class _Network:
    """An exported network with its contract, not yet a release."""

    def __init__(self, backend: Backend, contract: ModelContractFile, score: float) -> None:
        self._backend = backend
        self._contract = contract
        self._score = score

    def detect(
        self, frame: NDArray[np.uint8], *, score_threshold: float | None = None
    ) -> Detections:
        tensor, placement = prepare_for(self._contract, frame)
        return postprocess_frame(
            self._backend.run(tensor),
            self._contract.output,
            score_threshold=self._score if score_threshold is None else score_threshold,
            placement=placement,
            width_px=frame.shape[1],
            height_px=frame.shape[0],
        )


def _measure_latency(
    backend: Backend, contract: ModelContractFile, frames: list[LabelledFrame]
) -> LatencyBaseline:
    network = _Network(backend, contract, Thresholds().score)
    pictures = [frames[number % len(frames)].frame for number in range(LATENCY_RUNS)]
    cpu_ms = time_in_turn([network], pictures)[0].cpu_ms
    return LatencyBaseline(
        hardware=describe_hardware(),
        cpu_ms_p50=float(np.percentile(cpu_ms, 50)),
        cpu_ms_p99=float(np.percentile(cpu_ms, 99)),
    )


def metrics_of(report: ApReport, classes: tuple[str, ...]) -> Metrics:
    """An evaluation's figures in the manifest's words; a class without labels has none."""
    return Metrics(
        map50=report.map50,
        map50_95=report.map50_95,
        per_class_ap50=dict(zip(classes, report.ap50, strict=True)),
    )


def _origin(spec: BuildSpec) -> str:
    return spec.origin or f"{spec.onnx.name}, SHA-256 {sha256_file(spec.onnx)}"


def _lineage(spec: BuildSpec, dataset: Dataset) -> Lineage:
    return Lineage(parent=spec.parent, dataset_version=dataset_version(dataset))
