"""Every Backend keeps the protocol's promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.runtime.backend import ModelContract
from sightloop.runtime.compute import Compute, Provider
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.backend_kit import BackendKit, OpenBackend
from sightloop.testing.fake_backend import FakeBackend
from sightloop.testing.tiny_detectors import build_tiny_detector


class TestOnnxBackend(BackendKit):
    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        path = tmp_path / "model.onnx"
        build_tiny_detector(path, side_px=64)
        return lambda: open_onnx(path)


class TestOnnxBackendWithTwoThreads(BackendKit):
    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        path = tmp_path / "model.onnx"
        build_tiny_detector(path, side_px=64)
        return lambda: open_onnx(path, compute=Compute(threads=2))


class TestFakeBackend(BackendKit):
    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        contract = ModelContract("images", (1, 3, 64, 64), "output0", (1, 6, 128))
        return lambda: FakeBackend(contract)


class TestOnnxBackendWithFreeBatch(BackendKit):
    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        path = tmp_path / "model.onnx"
        build_tiny_detector(path, side_px=64, free_batch=True)
        return lambda: open_onnx(path)


class TestFakeBackendWithFreeBatch(BackendKit):
    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        shapes = ("images", (1, 3, 64, 64), "output0", (1, 6, 128))
        return lambda: FakeBackend(ModelContract(*shapes, free_batch=True))


class TestTorchBackend(BackendKit):
    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        reason = "torch or onnx2pytorch is not installed: pip install 'sightloop[torch]'"
        pytest.importorskip("torch", reason=reason)
        pytest.importorskip("onnx2pytorch", reason=reason)
        from sightloop.runtime.torch_backend import open_torch

        path = tmp_path / "model.onnx"
        build_tiny_detector(path, side_px=64, free_batch=True)
        compute = Compute(Provider.TORCH, torch_device="cpu")
        return lambda: open_torch(path, compute=compute)
