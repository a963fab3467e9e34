from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.bad_models import heavy, shift_image, slow_down, wrong_answers
from sightloop.testing.tiny_detectors import build_tiny_detector, render_plate
from sightloop.vision.detections import Detections
from sightloop.vision.matching import match
from sightloop.vision.postprocess import decode_output
from sightloop.vision.preprocess import prepare

_YOLO = Path(__file__).resolve().parents[4] / "shared/data/weights-coco/yolov8n_coco_dq_640.onnx"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    build_tiny_detector(tmp_path / "good.onnx")
    return tmp_path / "good.onnx"


def _run(model: Path, seed: int = 2) -> NDArray[np.float32]:
    tensor, _ = prepare(render_plate(seed)[0], side_px=160)
    return open_onnx(model).run(tensor)


def _read(raw: NDArray[np.float32]) -> Detections:
    return decode_output(
        raw,
        layout="raw",
        score_threshold=0.25,
        iou_threshold=0.5,
        max_candidates=1000,
        max_detections=300,
    )


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 2), (-2, 2), (2, -2)])
def test_shifted_model_moves_every_box(good: Path, tmp_path: Path, dx: int, dy: int) -> None:
    shift_image(good, tmp_path / "bad.onnx", dx_px=dx, dy_px=dy)
    before, after = _read(_run(good)), _read(_run(tmp_path / "bad.onnx"))
    pairs = match(before.boxes, before.classes, after.boxes, after.classes, iou=0.3)
    assert len(pairs) == len(before) > 0
    moved = after.boxes[pairs[:, 1]] - before.boxes[pairs[:, 0]]
    assert np.median(moved, axis=0) == pytest.approx([dx, dy, dx, dy], abs=0.3)


def test_slow_model_answers_the_same_bits(good: Path, tmp_path: Path) -> None:
    slow_down(good, tmp_path / "bad.onnx", layers=2, channels=8)
    assert _run(tmp_path / "bad.onnx").tobytes() == _run(good).tobytes()
    kinds = [node.op_type for node in onnx.load(tmp_path / "bad.onnx").graph.node]
    assert kinds[:3] == ["Conv"] * 3


@pytest.mark.parametrize("seed", range(3))
def test_wrong_model_runs_and_finds_nothing_right(good: Path, tmp_path: Path, seed: int) -> None:
    wrong_answers(good, tmp_path / "bad.onnx", seed=seed)
    raw = _run(tmp_path / "bad.onnx")
    assert np.isfinite(raw).all()
    before, after = _read(_run(good)), _read(raw)
    pairs = match(before.boxes, before.classes, after.boxes, after.classes, iou=0.5)
    assert len(pairs) < len(before) / 2


def test_wrong_model_is_the_same_for_the_same_seed(good: Path, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        wrong_answers(good, tmp_path / name, seed=4)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_heavy_model_answers_the_same_and_stays_heavy(good: Path, tmp_path: Path) -> None:
    heavy(good, tmp_path / "bad.onnx", mebibytes=8)
    assert (tmp_path / "bad.onnx").stat().st_size > 8 << 20
    assert _run(tmp_path / "bad.onnx").tobytes() == _run(good).tobytes()


def test_heavy_constant_survives_the_runtimes_optimiser(good: Path, tmp_path: Path) -> None:
    heavy(good, tmp_path / "bad.onnx", mebibytes=4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(tmp_path / "bad.onnx", options, ["CPUExecutionProvider"])
    assert (tmp_path / "optimised.onnx").stat().st_size > 4 << 20


def test_bad_models_keep_names_and_shapes(good: Path, tmp_path: Path) -> None:
    shift_image(good, tmp_path / "0.onnx", dx_px=1, dy_px=1)
    slow_down(good, tmp_path / "1.onnx", layers=1)
    wrong_answers(good, tmp_path / "2.onnx", seed=0)
    heavy(good, tmp_path / "3.onnx", mebibytes=1)
    contract = open_onnx(good).contract
    for index in range(4):
        path = tmp_path / f"{index}.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        assert open_onnx(path).contract == contract


@pytest.mark.skipif(not _YOLO.is_file(), reason=f"no YOLOv8 export at {_YOLO}")
def test_surgery_works_on_a_yolo_export(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).random((1, 3, 640, 640), np.float32)
    good = open_onnx(_YOLO)
    expected = good.run(tensor)
    shift_image(_YOLO, tmp_path / "shift.onnx", dx_px=2, dy_px=-2)
    slow_down(_YOLO, tmp_path / "slow.onnx", layers=1, channels=8)
    wrong_answers(_YOLO, tmp_path / "wrong.onnx", seed=0)
    heavy(_YOLO, tmp_path / "heavy.onnx", mebibytes=1)
    moved = np.pad(tensor, ((0, 0), (0, 0), (0, 2), (2, 0)), mode="edge")[:, :, 2:, :640]
    shifted = open_onnx(tmp_path / "shift.onnx")
    assert shifted.contract == good.contract
    assert np.array_equal(shifted.run(tensor), good.run(np.ascontiguousarray(moved)))
    assert np.array_equal(open_onnx(tmp_path / "slow.onnx").run(tensor), expected)
    assert np.array_equal(open_onnx(tmp_path / "heavy.onnx").run(tensor), expected)
    wrong = open_onnx(tmp_path / "wrong.onnx").run(tensor)
    assert np.isfinite(wrong).all()
    assert np.abs(wrong[0, 4:] - expected[0, 4:]).max() > 0.1
