from pathlib import Path

import pytest

from sightloop.bench.batch import SIZES, bench_batch
from sightloop.errors import ConfigError
from sightloop.testing.tiny_detectors import build_tiny_detector


def test_every_size_of_batch_is_measured_and_its_outputs_compared(tmp_path: Path) -> None:
    build_tiny_detector(tmp_path / "free.onnx", side_px=64, free_batch=True)
    figures = bench_batch(tmp_path / "free.onnx", 1, lambda _: None)
    costs = figures["cpu_ms_a_frame"]
    assert isinstance(costs, dict)
    assert list(costs) == [str(size) for size in SIZES]
    assert all(cost > 0 for cost in costs.values())
    difference = figures["difference_max"]
    assert isinstance(difference, float)
    assert difference < 2e-3


def test_network_of_one_frame_cannot_be_measured(tmp_path: Path) -> None:
    build_tiny_detector(tmp_path / "fixed.onnx", side_px=64)
    with pytest.raises(ConfigError) as caught:
        bench_batch(tmp_path / "fixed.onnx", 1, lambda _: None)
    assert caught.value.reason == "bench_model"
