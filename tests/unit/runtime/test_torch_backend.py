"""Torch runs the release's own ONNX file, or says why it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sightloop.errors import ModelLoadError, ProviderUnavailableError
from sightloop.runtime import torch_backend
from sightloop.runtime.compute import Compute, Provider
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.runtime.torch_backend import open_torch
from sightloop.testing.tiny_detectors import build_tiny_detector

REASON = "torch or onnx2pytorch is not installed: pip install 'sightloop[torch]'"
ON_CPU = Compute(Provider.TORCH, torch_device="cpu")


@pytest.fixture
def torch() -> object:
    pytest.importorskip("onnx2pytorch", reason=REASON)
    return pytest.importorskip("torch", reason=REASON)


@pytest.mark.parametrize("free_batch", [False, True])
def test_torch_answers_as_onnx_runtime_does(
    tmp_path: Path, torch: object, free_batch: bool
) -> None:
    path = tmp_path / "model.onnx"
    written = build_tiny_detector(path, side_px=96, free_batch=free_batch)
    backend, reference = open_torch(path, compute=ON_CPU), open_onnx(path)
    assert backend.contract == written
    frames = np.random.default_rng(3).random((3 if free_batch else 1, 3, 96, 96), np.float32)
    assert backend.run(frames) == pytest.approx(reference.run(frames), abs=1e-3)


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx2pytorch", None)
    with pytest.raises(ProviderUnavailableError, match=r"sightloop\[torch\]") as caught:
        open_torch(tmp_path / "model.onnx", compute=ON_CPU)
    assert caught.value.reason == "provider_not_installed"


def test_missing_gpu_is_refused_and_the_cpu_does_not_step_in(tmp_path: Path, torch: object) -> None:
    build_tiny_detector(tmp_path / "model.onnx", side_px=64)
    with pytest.raises(ProviderUnavailableError, match="torch_device") as caught:
        open_torch(tmp_path / "model.onnx", compute=Compute(Provider.TORCH, device_id=99))
    assert caught.value.reason == "provider_not_started"


def test_file_that_is_no_network_is_refused(tmp_path: Path, torch: object) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelLoadError) as caught:
        open_torch(tmp_path / "model.onnx", compute=ON_CPU)
    assert caught.value.reason == "model_unloadable"


def test_operator_that_the_converter_does_not_know_is_refused(
    tmp_path: Path, torch: object
) -> None:
    shape = (1, 3, 32, 32)
    graph = helper.make_graph(
        [helper.make_node("QuickGelu", ["in"], ["out"], domain="com.microsoft")],
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    with pytest.raises(ModelLoadError, match="onnx2pytorch") as caught:
        open_torch(path, compute=ON_CPU)
    assert caught.value.reason == "model_unloadable"


def test_conversion_that_answers_otherwise_is_refused(
    tmp_path: Path, torch: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tiny_detector(tmp_path / "model.onnx", side_px=64)
    build_tiny_detector(tmp_path / "other.onnx", side_px=64, variant=7)
    monkeypatch.setattr(
        torch_backend, "open_onnx", lambda path: open_onnx(path.with_name("other.onnx"))
    )
    with pytest.raises(ModelLoadError) as caught:
        open_torch(tmp_path / "model.onnx", compute=ON_CPU)
    assert caught.value.reason == "conversion_differs"
