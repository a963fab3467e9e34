"""Promise: who answers wrongly does not serve, however well it is signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sightloop.testing.bad_models import shift_image, wrong_answers


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_weights_are_refused(node: Any, seed: int) -> None:
    verdict = node.refusal(node.with_model(lambda good, bad: wrong_answers(good, bad, seed=seed)))
    assert verdict.gate == "behaviour"
    assert verdict.reason in {"expected_detections_missed", "unexpected_detections"}


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 2), (-2, 0), (0, -2), (2, 2), (1, 0)])
def test_picture_moved_by_pixels_is_refused(node: Any, dx: int, dy: int) -> None:
    verdict = node.refusal(
        node.with_model(lambda good, bad: shift_image(good, bad, dx_px=dx, dy_px=dy))
    )
    assert (verdict.gate, verdict.reason) == ("behaviour", "systematic_offset")
    assert verdict.measurements["offset_x_px"] == pytest.approx(dx, abs=0.1)
    assert verdict.measurements["offset_y_px"] == pytest.approx(dy, abs=0.1)
    assert verdict.measurements["offset_max_px"] == 0.5


def _behind(src: Path, dst: Path, kind: str, constant: Any, **attributes: Any) -> None:
    """Write `src` with one more node between its last one and its output."""
    model = onnx.load(src)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if output == name else output for output in node.output]
    model.graph.initializer.append(numpy_helper.from_array(constant, "attack_constant"))
    inputs = ["inner", "attack_constant"]
    model.graph.node.append(helper.make_node(kind, inputs, [name], **attributes))
    onnx.save(model, dst)


def _constant(dst: Path, src: Path, factor: float) -> None:
    _behind(src, dst, "Mul", np.array(factor, np.float32))


def test_detector_that_finds_nothing_is_refused(node: Any) -> None:
    verdict = node.refusal(node.with_model(lambda good, bad: _constant(bad, good, 0.0)))
    assert (verdict.gate, verdict.reason) == ("behaviour", "expected_detections_missed")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_refused(node: Any, value: float) -> None:
    verdict = node.refusal(node.with_model(lambda good, bad: _constant(bad, good, value)))
    assert verdict.gate in {"load", "behaviour"}
    assert verdict.reason == "output_not_finite"


def test_scores_scaled_down_are_refused(node: Any) -> None:
    scale = np.array([1, 1, 1, 1, 0.9, 0.9], np.float32).reshape(1, 6, 1)
    verdict = node.refusal(node.with_model(lambda good, bad: _behind(good, bad, "Mul", scale)))
    assert (verdict.gate, verdict.reason) == ("behaviour", "scores_shifted")


def test_classes_in_another_order_inside_the_network_are_refused(node: Any) -> None:
    order = np.array([0, 1, 2, 3, 5, 4], np.int64)
    verdict = node.refusal(
        node.with_model(lambda good, bad: _behind(good, bad, "Gather", order, axis=1))
    )
    assert (verdict.gate, verdict.reason) == ("behaviour", "expected_detections_missed")


def test_network_that_no_longer_knows_what_the_champion_knew_is_refused(node: Any) -> None:
    verdict = node.refusal(node.candidate(kind="dark"))
    assert (verdict.gate, verdict.reason) == ("behaviour", "worse_than_champion")


def test_release_without_calibration_frames_proves_nothing(node: Any) -> None:
    verdict = node.refusal(node.candidate(frames=0))
    assert (verdict.outcome.value, verdict.reason) == ("INCONCLUSIVE", "no_frames")


def test_file_that_is_no_network_is_refused(node: Any) -> None:
    verdict = node.refusal(node.with_model(lambda good, bad: bad.write_bytes(b"not onnx")))
    assert (verdict.gate, verdict.reason) == ("load", "model_unloadable")


def test_network_of_another_input_size_is_refused(node: Any) -> None:
    from sightloop.testing.tiny_detectors import build_tiny_detector

    verdict = node.refusal(node.with_model(lambda good, bad: build_tiny_detector(bad, side_px=96)))
    assert (verdict.gate, verdict.reason) == ("load", "input_shape_differs")
