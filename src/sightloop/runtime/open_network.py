"""Which backend opens a release's network, and whether an engine must be compiled before.

A provider that compiles (TensorRT, OpenVINO on a GPU) may take minutes for what the cache hands out
in a second: `engine_missing` says so beforehand, for the release's state to be BUILDING meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightloop._support.hardware import processor_name
from sightloop.runtime.backend import Backend
from sightloop.runtime.compute import (
    Compute,
    FrameBatch,
    Provider,
    check_installed,
    not_started,
    onnx_providers,
)
from sightloop.runtime.engines import EngineKey, build_once, is_built
from sightloop.runtime.gpu import find_gpu, tensorrt_version
from sightloop.runtime.onnx_backend import available_providers, open_onnx, runtime_version


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A verified file with a network.

    Attributes:
        path: The ONNX file.
        digest: Of its release.
        batch: Its input, where the batch dimension is free.
    """

    path: Path
    digest: str
    batch: FrameBatch | None = None


def engine_missing(network: NetworkFile, compute: Compute) -> bool:
    """Whether opening the network would compile an engine first.

    Raises:
        ProviderUnavailableError: The provider is not installed or finds no device.
    """
    if not compute.compiles or compute.engine_cache is None:
        return False
    return not is_built(_key(network, compute).folder(compute.engine_cache))


def open_network(network: NetworkFile, compute: Compute) -> Backend:
    """Load a network; compiles its engine where that is missing.

    Raises:
        BackendError: As `open_onnx` and `open_torch`.
    """
    if compute.provider is Provider.TORCH:
        # Imported here alone: torch takes seconds, and no other provider wants it.
        from sightloop.runtime.torch_backend import open_torch

        return open_torch(network.path, compute=compute)
    engines = None
    if compute.compiles and compute.engine_cache is not None:
        engines = build_once(
            compute.engine_cache,
            _key(network, compute),
            lambda folder: _compile(network, compute, folder),
        )
    return open_onnx(network.path, compute=compute, engines=engines, batch=network.batch)


def _compile(network: NetworkFile, compute: Compute, folder: Path) -> None:
    """Fill a folder with the engine: by the first load, and the first run of the largest batch."""
    backend = open_onnx(network.path, compute=compute, engines=folder, batch=network.batch)
    try:
        frames = compute.batch_max if backend.contract.free_batch else 1
        backend.run(np.zeros((frames, *backend.contract.input_shape[1:]), np.float32))
    finally:
        backend.close()


def _key(network: NetworkFile, compute: Compute) -> EngineKey:
    check_installed(compute, available_providers(), runtime=runtime_version())
    device, driver, runtime = processor_name(), "", runtime_version()
    if compute.provider is Provider.TENSORRT:
        gpu = find_gpu(compute.device_id)
        if gpu is None:
            found = f"no NVIDIA driver, or no GPU {compute.device_id}"
            raise not_started(compute, found, runtime=runtime)
        device, driver = f"{gpu.name} {gpu.capability}", gpu.driver
        runtime = f"{runtime}, tensorrt {tensorrt_version()}"
    # The options say where the engines lie, which nothing depends on.
    name, options = onnx_providers(compute, batch=network.batch)[0]
    return EngineKey(
        provider=compute.provider.value,
        device=device,
        driver=driver,
        runtime=runtime,
        options=f"{name} {sorted(options.items())}",
        digest=network.digest,
    )
