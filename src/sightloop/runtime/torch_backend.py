"""PyTorch as a Backend, for GPU hosts whose ONNX Runtime has no GPU build; imported when asked for.

It runs the release's own `model.onnx`: no pickle and no `.pt` is read. The graph is converted to a
module when it is loaded, and is only served if it then answers as ONNX Runtime does on the CPU.
Numbers are float32 without TF32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import BackendError, ModelLoadError, ProviderUnavailableError
from sightloop.runtime.backend import (
    OUTPUT_ABSOLUTE,
    OUTPUT_RELATIVE,
    ModelContract,
    different_frames,
)
from sightloop.runtime.compute import Compute
from sightloop.runtime.onnx_backend import open_onnx

_MIB = 1 << 20


class TorchBackend:
    """One module on one device. One thread at a time calls `run`."""

    def __init__(self, torch: Any, module: Any, device: str, contract: ModelContract) -> None:
        self._torch = torch
        self._module = module
        self._device = device
        self._contract = contract

    @property
    def contract(self) -> ModelContract:
        """Names and shapes, as the file states them."""
        return self._contract

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer one input; see `OnnxBackend.run`."""
        if self._module is None:
            raise BackendError("network: it is closed; load it again", reason="backend_closed")
        if not self._contract.takes(tensor.shape) or tensor.dtype != np.float32:
            raise BackendError(
                f"network input: expected {self._contract.input_shape} float32, "
                f"found {tensor.shape} {tensor.dtype}",
                reason="input_shape",
            )
        try:
            with self._torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the converter, about torch's own future
                given = self._torch.tensor(tensor, device=self._device)
                output: NDArray[np.float32] = self._module(given).cpu().numpy()
        except RuntimeError as error:  # the root of what torch raises, out of memory included
            raise BackendError(
                f"network: it failed on an input: {error}", reason="inference_failed"
            ) from error
        return output

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        self._module = None
        if self._device != "cpu":
            self._torch.cuda.empty_cache()


def open_torch(path: Path, *, compute: Compute) -> TorchBackend:
    """Load an ONNX file into torch.

    The process's torch is set to `compute.threads` threads and to exact float32.

    Args:
        path: The file; weights outside of it are not looked for.
        compute: Its `torch_device` is `cuda` (the GPU `device_id`) or `cpu`.

    Returns:
        A backend that can answer.

    Raises:
        ProviderUnavailableError: torch or the converter is not installed
            (`provider_not_installed`), or torch finds no such GPU (`provider_not_started`).
        ModelLoadError: As `open_onnx`; or the converter does not know the graph
            (`model_unloadable`), or the module answers otherwise (`conversion_differs`).
    """
    torch, onnx, convert = _libraries()
    device = _device(torch, compute)
    reference = open_onnx(path)
    try:
        contract = reference.contract
        frames = different_frames(1, contract.input_shape[-1])
        expected = reference.run(frames)
    finally:
        reference.close()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "might differ": that is compared below
            graph = onnx.load(str(path), load_external_data=False)
            module = convert(graph, experimental=contract.free_batch).eval().to(device)
    except Exception as error:  # whatever a foreign converter raises, it has no module for us
        raise ModelLoadError(
            f"model {path.name}: expected a graph that onnx2pytorch converts, found "
            f"{type(error).__name__}: {error}; use another provider for this release"
        ) from error
    backend = TorchBackend(torch, module, device, contract)
    _check_conversion(backend, frames, expected, path.name)
    return backend


def _libraries() -> tuple[Any, Any, Any]:
    try:
        import onnx
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from onnx2pytorch import ConvertModel
    except ImportError as error:
        raise ProviderUnavailableError(
            f"provider torch: expected torch and onnx2pytorch, found: {error}; install "
            "sightloop[torch], or set serve.provider to what is there",
            "provider_not_installed",
        ) from error
    return torch, onnx, ConvertModel


def _device(torch: Any, compute: Compute) -> str:
    torch.set_num_threads(compute.threads)
    if compute.torch_device == "cpu":
        return "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if compute.device_id >= count:
        raise ProviderUnavailableError(
            f"provider torch: expected GPU {compute.device_id}, found {count} GPUs in torch "
            f"{torch.__version__}; see that `nvidia-smi` lists it and that this is a CUDA build of "
            'torch, or set serve.torch_device = "cpu"',
            "provider_not_started",
        )
    device = f"cuda:{compute.device_id}"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    if compute.gpu_memory_max_mib:
        total = torch.cuda.get_device_properties(device).total_memory
        fraction = min(compute.gpu_memory_max_mib * _MIB / total, 1.0)
        torch.cuda.set_per_process_memory_fraction(fraction, device)
    return device


def _check_conversion(
    backend: TorchBackend,
    frames: NDArray[np.float32],
    expected: NDArray[np.float32],
    file_name: str,
) -> None:
    found = backend.run(frames)
    same = found.shape == expected.shape and np.allclose(
        found, expected, rtol=OUTPUT_RELATIVE, atol=OUTPUT_ABSOLUTE
    )
    if not same:
        backend.close()
        raise ModelLoadError(
            f"model {file_name}: expected torch to answer as ONNX Runtime does on the CPU, found "
            "another output; use another provider for this release",
            reason="conversion_differs",
        )
