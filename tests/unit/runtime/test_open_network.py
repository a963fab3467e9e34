"""Whether an engine is missing, and what its key is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sightloop.errors import ProviderUnavailableError
from sightloop.runtime import open_network as it
from sightloop.runtime.compute import ON_CPU, Compute, FrameBatch, Provider
from sightloop.runtime.gpu import Gpu
from sightloop.runtime.onnx_backend import available_providers
from sightloop.runtime.open_network import NetworkFile, engine_missing, open_network
from sightloop.testing.tiny_detectors import build_tiny_detector

L4 = Gpu("NVIDIA L4", "8.9", "550.54")
INSTALLED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def network(tmp_path: Path) -> NetworkFile:
    build_tiny_detector(tmp_path / "model.onnx", side_px=64)
    return NetworkFile(tmp_path / "model.onnx", "d" * 64)


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
    """A machine with TensorRT, as far as it is asked before anything is loaded."""
    monkeypatch.setattr(it, "available_providers", lambda: INSTALLED)
    monkeypatch.setattr(it, "find_gpu", lambda device_id: L4)
    return Compute(Provider.TENSORRT, engine_cache=tmp_path / "engines")


def _built(network: NetworkFile, compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the engine built by something that takes no GPU."""
    monkeypatch.setattr(it, "_compile", lambda network, compute, folder: None)
    monkeypatch.setattr(it, "open_onnx", lambda path, **_: None)
    open_network(network, compute)


def test_provider_that_compiles_nothing_misses_nothing(network: NetworkFile) -> None:
    assert not engine_missing(network, ON_CPU)


def test_without_a_cache_nothing_is_missing(network: NetworkFile) -> None:
    assert not engine_missing(network, Compute(Provider.TENSORRT))


def test_engine_is_missing_until_it_is_built(
    network: NetworkFile, tensorrt: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine_missing(network, tensorrt)
    _built(network, tensorrt, monkeypatch)
    assert not engine_missing(network, tensorrt)


@pytest.mark.parametrize(
    "other", [dataclasses.replace(L4, driver="560.1"), dataclasses.replace(L4, name="NVIDIA T4")]
)
def test_engine_of_another_gpu_or_driver_is_missing(
    network: NetworkFile, tensorrt: Compute, monkeypatch: pytest.MonkeyPatch, other: Gpu
) -> None:
    _built(network, tensorrt, monkeypatch)
    monkeypatch.setattr(it, "find_gpu", lambda device_id: other)
    assert engine_missing(network, tensorrt)


def test_engine_for_another_size_of_batch_is_missing(
    network: NetworkFile, tensorrt: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = dataclasses.replace(network, batch=FrameBatch("images", (3, 64, 64)))
    _built(free, dataclasses.replace(tensorrt, batch_max=4), monkeypatch)
    assert engine_missing(free, dataclasses.replace(tensorrt, batch_max=8))


def test_machine_without_the_gpu_says_so(
    network: NetworkFile, tensorrt: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it, "find_gpu", lambda device_id: None)
    with pytest.raises(ProviderUnavailableError, match="no GPU 0") as caught:
        engine_missing(network, tensorrt)
    assert caught.value.reason == "provider_not_started"


def test_runtime_without_tensorrt_says_so(network: NetworkFile, tmp_path: Path) -> None:
    if "TensorrtExecutionProvider" in available_providers():
        pytest.skip("TensorRT is built into this ONNX Runtime")
    with pytest.raises(ProviderUnavailableError) as caught:
        engine_missing(network, Compute(Provider.TENSORRT, engine_cache=tmp_path))
    assert caught.value.reason == "provider_not_installed"


def test_openvino_answers_as_the_cpu_does(network: NetworkFile) -> None:
    if "OpenVINOExecutionProvider" not in available_providers():
        pytest.skip("onnxruntime-openvino is not installed in the place of onnxruntime")
    openvino = open_network(network, Compute(Provider.OPENVINO))
    cpu = open_network(network, ON_CPU)
    tensor = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    assert openvino.run(tensor) == pytest.approx(cpu.run(tensor), abs=2e-3)
