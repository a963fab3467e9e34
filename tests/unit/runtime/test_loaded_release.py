from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.errors import BackendError, ImageError, ModelContractError, ModelLoadError
from sightloop.release.bundle import Bundle, read_bundle
from sightloop.release.calibration import load_calibration
from sightloop.release.manifest import InputContract, Manifest, OutputContract, Preprocess
from sightloop.release.signing import SigningKey, create_key
from sightloop.runtime.backend import ModelContract
from sightloop.runtime.compute import Compute
from sightloop.runtime.loaded_release import (
    Answer,
    LoadedRelease,
    check_contract,
    detections_as_json,
    load_release,
)
from sightloop.testing.fake_backend import FakeBackend
from sightloop.testing.tiny_detectors import build_tiny_release, render_plate
from sightloop.vision.decode import DecodeLimits, encode_png
from sightloop.vision.detections import Detections, no_detections
from sightloop.vision.matching import match


class _TickingClock:
    """Each look at the clock is one millisecond after the last."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic_s(self) -> float:
        self._looks += 1
        return self._looks / 1000

    def wall_s(self) -> float:
        return self.monotonic_s()

    def sleep_s(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("release")
    key: SigningKey = create_key(folder / "keys")
    build_tiny_release(folder / "bundle", semver="1.0.0", key=key, frames=4)
    return read_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def release(bundle: Bundle) -> LoadedRelease:
    return load_release(bundle.folder, bundle.manifest, bundle.digest)


def _contract_of(manifest: Manifest) -> ModelContract:
    return ModelContract(
        input_name=manifest.input.name,
        input_shape=tuple(manifest.input.shape),
        output_name=manifest.output.name,
        output_shape=tuple(manifest.output.shape),
    )


def _faking(
    manifest: Manifest, respond: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> LoadedRelease:
    return LoadedRelease(FakeBackend(_contract_of(manifest), respond), manifest, "0" * 64)


def _frame() -> NDArray[np.uint8]:
    return render_plate(3)[0]


def test_exported_file_finds_what_the_reference_expects(
    bundle: Bundle, release: LoadedRelease
) -> None:
    for image, expectation in load_calibration(bundle):
        answer = release.answer(image)
        expected = expectation.detections
        assert expected is not None
        assert (answer.width_px, answer.height_px) == (160, 160)
        assert answer.detections.classes.tolist() == expected.classes.tolist()
        assert answer.detections.boxes == pytest.approx(expected.boxes, abs=0.02)
        assert answer.detections.scores == pytest.approx(expected.scores, abs=1e-3)


def test_answer_and_detect_agree_bit_by_bit(release: LoadedRelease) -> None:
    answered = release.answer(encode_png(_frame())).detections
    detected = release.detect(_frame())
    assert answered.boxes.tobytes() == detected.boxes.tobytes()
    assert answered.scores.tobytes() == detected.scores.tobytes()


def test_boxes_are_in_pixels_of_the_frame(bundle: Bundle) -> None:
    # 640 x 320 fits a 160 px square at a quarter, 40 px of border above: the box is 40 px in.
    raw = np.zeros(bundle.manifest.output.shape, np.float32)
    raw[0, :, 7] = [80, 60, 20, 10, 0.9, 0]
    release = _faking(bundle.manifest, lambda _: raw)
    found = release.detect(np.zeros((320, 640, 3), np.uint8))
    assert found.boxes.tolist() == [[280, 60, 360, 100]]


def test_frame_twice_as_large_gives_boxes_twice_as_large(release: LoadedRelease) -> None:
    found, doubled = release.detect(_frame()), release.detect(_frame().repeat(2, 0).repeat(2, 1))
    pairs = match(found.boxes * 2, found.classes, doubled.boxes, doubled.classes, iou=0.8)
    assert len(pairs) == len(found) > 0


def test_score_threshold_of_the_manifest_is_the_default(
    bundle: Bundle, release: LoadedRelease
) -> None:
    frame = _frame()
    usual = release.detect(frame)
    assert (usual.scores > bundle.manifest.thresholds.score).all()
    assert len(release.detect(frame, score_threshold=0.001)) >= len(usual) > 0
    assert len(release.detect(frame, score_threshold=0.99)) == 0
    assert len(release.detect(frame, score_threshold=0.0)) >= len(usual)


def test_parts_of_an_answer_are_timed(bundle: Bundle) -> None:
    release = load_release(bundle.folder, bundle.manifest, bundle.digest, clock=_TickingClock())
    answer = release.answer(encode_png(_frame()))
    parts = [answer.decode_ms, answer.preprocess_ms, answer.inference_ms, answer.postprocess_ms]
    assert parts == pytest.approx([1.0] * 4)


def test_limits_on_images_are_kept(release: LoadedRelease) -> None:
    with pytest.raises(ImageError) as caught:
        release.answer(encode_png(_frame()), limits=DecodeLimits(pixels_max=100))
    assert caught.value.reason == "image_too_large"


def test_label_and_classes_come_from_the_manifest(bundle: Bundle, release: LoadedRelease) -> None:
    assert release.digest == bundle.digest
    assert release.manifest is bundle.manifest
    assert release.classes == ("pit", "spot")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": InputContract(name="x", shape=(1, 3, 160, 160))}, "input_name_differs"),
        (
            {
                "input": InputContract(name="images", shape=(1, 3, 96, 96)),
                "preprocess": Preprocess(side_px=96),
            },
            "input_shape_differs",
        ),
        (
            {"output": OutputContract(name="x", shape=(1, 6, 800), layout="raw")},
            "output_name_differs",
        ),
        (
            {"output": OutputContract(name="output0", shape=(1, 6, 801), layout="raw")},
            "output_shape_differs",
        ),
    ],
)
def test_network_that_is_not_the_manifests_is_refused(
    bundle: Bundle, changes: dict[str, Any], reason: str
) -> None:
    manifest = bundle.manifest.model_copy(update=changes)
    with pytest.raises(ModelContractError) as caught:
        load_release(bundle.folder, manifest, bundle.digest)
    assert caught.value.reason == reason


def test_contract_as_stated_passes(bundle: Bundle) -> None:
    check_contract(_contract_of(bundle.manifest), bundle.manifest)


def test_missing_weights_cannot_be_loaded(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError):
        load_release(tmp_path, bundle.manifest, bundle.digest)


def test_output_that_is_not_finite_is_refused(bundle: Bundle) -> None:
    shape = bundle.manifest.output.shape
    release = _faking(bundle.manifest, lambda _: np.full(shape, np.nan, np.float32))
    with pytest.raises(BackendError) as caught:
        release.detect(_frame())
    assert caught.value.reason == "output_not_finite"


@pytest.mark.parametrize("index", [-1, 2])
def test_class_without_a_name_is_refused(bundle: Bundle, index: int) -> None:
    output = OutputContract(name="output0", shape=(1, 1, 6), layout="end_to_end")
    manifest = bundle.manifest.model_copy(update={"output": output})
    row = np.array([[[1, 2, 3, 4, 0.9, index]]], np.float32)
    release = _faking(manifest, lambda _: row)
    with pytest.raises(BackendError) as caught:
        release.detect(_frame())
    assert caught.value.reason == "class_unknown"


def test_closed_release_does_not_answer(bundle: Bundle) -> None:
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    release.close()
    with pytest.raises(BackendError):
        release.detect(_frame())


def test_json_keeps_every_bit_of_a_float32() -> None:
    boxes = np.random.default_rng(0).random((3, 4), np.float32) * 100
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([1, 0, 1]))
    rows = json.loads(json.dumps(detections_as_json(found, ("pit", "spot"))))
    assert np.array([row["box"] for row in rows], np.float32).tobytes() == boxes.tobytes()
    assert [row["class"] for row in rows] == ["spot", "pit", "spot"]
    assert [row["class_id"] for row in rows] == [1, 0, 1]
    assert np.float32(rows[0]["score"]) == found.scores[0]
    assert detections_as_json(no_detections(), ()) == []


class _Counting:
    """A network whose batch is free: counts frames a run; answers `respond`."""

    def __init__(
        self, manifest: Manifest, respond: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> None:
        self.runs: list[int] = []
        self._respond = respond
        self.manifest = manifest.model_copy(
            update={"input": manifest.input.model_copy(update={"batch": "free"})}
        )

    def load(self, *, batch_max: int) -> LoadedRelease:
        contract = dataclasses.replace(_contract_of(self.manifest), free_batch=True)
        backend = FakeBackend(contract, self._run)
        return LoadedRelease(backend, self.manifest, "0" * 64, batch_max=batch_max)

    def _run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs.append(len(tensor))
        return self._respond(tensor)


def _of_each(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """A box whose place is a figure of the frame."""
    raw = np.zeros((len(tensor), 6, 800), np.float32)
    raw[:, :4, 7] = 40 + tensor.mean(axis=(1, 2, 3))[:, None]
    raw[:, 4, 7] = 0.9
    return raw


def test_images_of_a_batch_are_answered_by_one_run_in_order(bundle: Bundle) -> None:
    network = _Counting(bundle.manifest, _of_each)
    release = network.load(batch_max=4)
    images = [encode_png(render_plate(seed)[0]) for seed in range(3)]
    together = release.answer_batch(images)
    assert network.runs == [3]
    alone = [release.answer(image) for image in images]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Answer)
        assert one.detections.boxes.tobytes() == other.detections.boxes.tobytes()
    assert len({answer.detections.boxes.tobytes() for answer in alone}) == 3


def test_run_that_fails_on_one_of_a_batch_is_tried_with_each_alone(bundle: Bundle) -> None:
    def fails_on_black(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        if (tensor.max(axis=(1, 2, 3)) == 0).any():
            raise BackendError("network: it failed", "inference_failed")
        return _of_each(tensor)

    network = _Counting(bundle.manifest, fails_on_black)
    black = encode_png(np.zeros((160, 160, 3), np.uint8))
    answers = network.load(batch_max=4).answer_batch([black, encode_png(_frame())])
    assert isinstance(answers[0], BackendError)
    assert isinstance(answers[1], Answer)
    assert network.runs == [2, 1, 1]


def test_output_that_is_not_finite_costs_its_own_frame_alone(bundle: Bundle) -> None:
    def spoils_black(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        raw = _of_each(tensor)
        raw[tensor.max(axis=(1, 2, 3)) == 0] = np.nan
        return raw

    black = encode_png(np.zeros((160, 160, 3), np.uint8))
    release = _Counting(bundle.manifest, spoils_black).load(batch_max=4)
    answers = release.answer_batch([encode_png(_frame()), black])
    assert isinstance(answers[0], Answer)
    assert isinstance(answers[1], BackendError)
    assert answers[1].reason == "output_not_finite"


def test_network_of_one_frame_is_never_given_several(bundle: Bundle) -> None:
    release = load_release(
        bundle.folder, bundle.manifest, bundle.digest, compute=Compute(batch_max=8)
    )
    assert release.batch_max == 1


def test_warming_up_runs_every_size_of_batch_the_largest_first(bundle: Bundle) -> None:
    network = _Counting(bundle.manifest, _of_each)
    network.load(batch_max=3).warm_up(runs=2)
    together = [count for count in network.runs if count > 1]
    assert together == [3, 2]
    assert network.runs[-2:] == [1, 1]


def test_network_that_mixes_the_frames_of_a_batch_is_refused(bundle: Bundle) -> None:
    mixed = _Counting(bundle.manifest, lambda tensor: _of_each(tensor)[::-1])
    with pytest.raises(BackendError) as caught:
        mixed.load(batch_max=2).warm_up(runs=1)
    assert caught.value.reason == "batch_differs"


def test_network_that_answers_a_batch_with_too_few_frames_is_refused(bundle: Bundle) -> None:
    short = _Counting(bundle.manifest, lambda tensor: _of_each(tensor)[:1])
    with pytest.raises(BackendError) as caught:
        short.load(batch_max=2).warm_up(runs=1)
    assert caught.value.reason == "batch_differs"
