from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.dataset.version import Dataset
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError
from sightloop.pipeline.evaluation import evaluate_items
from sightloop.pipeline.exported_model import ModelContractFile
from sightloop.release.manifest import InputContract, OutputContract, Preprocess
from sightloop.runtime.onnx_backend import OnnxBackend, open_onnx
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.testing.tiny_detectors import Kind, build_tiny_detector

SIDE_PX = 96


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return read_yolo(write_plate_dataset(tmp_path / "plates", {"train": 6}, side_px=SIDE_PX))


def _open(folder: Path, kind: Kind) -> tuple[OnnxBackend, ModelContractFile]:
    path = folder / "model.onnx"
    found = build_tiny_detector(path, kind=kind, side_px=SIDE_PX)
    rows, anchors = found.output_shape[1:]
    contract = ModelContractFile(
        classes=("pit", "spot"),
        input=InputContract(name=found.input_name, shape=(1, 3, SIDE_PX, SIDE_PX)),
        preprocess=Preprocess(side_px=SIDE_PX),
        output=OutputContract(name=found.output_name, shape=(1, rows, anchors), layout="raw"),
    )
    return open_onnx(path), contract


def test_class_that_is_never_found_costs_its_average_precision(
    dataset: Dataset, tmp_path: Path
) -> None:
    both, contract = _open(tmp_path / "both", "both")
    dark, _ = _open(tmp_path / "dark", "dark")
    whole = evaluate_items(both, contract, dataset.items).report
    half = evaluate_items(dark, contract, dataset.items).report
    assert whole.map50 is not None
    assert whole.map50 > 0.9
    assert half.ap50[0] == whole.ap50[0]
    assert half.ap50[1] == 0.0


def test_any_subset_can_be_judged(dataset: Dataset, tmp_path: Path) -> None:
    backend, contract = _open(tmp_path, "both")
    evaluation = evaluate_items(backend, contract, dataset.items[2:4])
    assert evaluation.items == dataset.items[2:4]
    assert len(evaluation.labels) == len(evaluation.found) == len(evaluation.cpu_ms) == 2


def test_nothing_to_judge_is_an_error_not_a_zero(dataset: Dataset, tmp_path: Path) -> None:
    backend, contract = _open(tmp_path, "both")
    with pytest.raises(DatasetError) as caught:
        evaluate_items(backend, contract, ())
    assert caught.value.reason == "split_empty"


def test_time_of_each_image_is_that_of_the_thread(dataset: Dataset, tmp_path: Path) -> None:
    backend, contract = _open(tmp_path, "both")
    ticks = iter(range(0, 100_000_000, 3_000_000))
    evaluation = evaluate_items(backend, contract, dataset.items, cpu_ns=lambda: next(ticks))
    assert evaluation.cpu_ms == (3.0,) * 6


def test_progress_counts_the_images(dataset: Dataset, tmp_path: Path) -> None:
    backend, contract = _open(tmp_path, "both")
    said: list[float] = []
    evaluate_items(
        backend, contract, dataset.items, progress=lambda fraction, _: said.append(fraction)
    )
    assert said == [pytest.approx(number / 6) for number in range(1, 7)]
