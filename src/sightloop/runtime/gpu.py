"""What the NVIDIA driver says of a GPU: name, driver and memory.

Its libraries are asked directly. Never called before a fork: the first call in a process opens the
driver. On a machine without an NVIDIA driver everything here is None.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_CUDA: Final = "libcuda.so.1"
_NVML: Final = "libnvidia-ml.so.1"
_TENSORRT: Final = ("libnvinfer.so.10", "libnvinfer.so.11", "libnvinfer.so")
_TEXT_BYTES: Final = 96
_MAJOR: Final = 75
_MINOR: Final = 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""

LoadLibrary = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU, as far as a compiled engine depends on it.

    Attributes:
        name: Such as `NVIDIA L4`.
        capability: Compute capability, such as `8.9`.
        driver: Version of the driver; of its CUDA interface where the driver's own is not told.
    """

    name: str
    capability: str
    driver: str


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Memory of one GPU in bytes, all processes together."""

    total_bytes: int
    used_bytes: int


class _NvmlMemory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def find_gpu(device_id: int, *, load: LoadLibrary = ctypes.CDLL) -> Gpu | None:
    """The GPU that CUDA calls `device_id`; None where there is none.

    Opens the driver in this process, but makes no context and takes no memory of the GPU.
    """
    cuda = _library(_CUDA, load)
    device, version = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_TEXT_BYTES)
    if (
        cuda is None
        or cuda.cuInit(0) != 0
        or cuda.cuDeviceGet(ctypes.byref(device), device_id) != 0
        or cuda.cuDeviceGetName(name, _TEXT_BYTES, device) != 0
        or cuda.cuDriverGetVersion(ctypes.byref(version)) != 0
    ):
        return None
    parts = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(str(value.value))
    driver = _driver_version(load) or f"cuda {version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(), ".".join(parts), driver)


def gpu_memory(index: int, *, load: LoadLibrary = ctypes.CDLL) -> GpuMemory | None:
    """Memory of the GPU that `nvidia-smi` calls `index`; None where there is none."""
    nvml = _library(_NVML, load)
    if nvml is None or nvml.nvmlInit_v2() != 0:
        return None
    handle, memory = ctypes.c_void_p(), _NvmlMemory()
    try:
        if (
            nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0
            or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0
        ):
            return None
        return GpuMemory(total_bytes=memory.total, used_bytes=memory.used)
    finally:
        nvml.nvmlShutdown()


def tensorrt_version(*, load: LoadLibrary = ctypes.CDLL) -> str:
    """Version number of the TensorRT library that the loader finds; `unknown` if it finds none."""
    for name in _TENSORRT:
        library = _library(name, load)
        if library is not None:
            return str(library.getInferLibVersion())
    return "unknown"


def _driver_version(load: LoadLibrary) -> str | None:
    nvml = _library(_NVML, load)
    if nvml is None or nvml.nvmlInit_v2() != 0:
        return None
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    try:
        told = nvml.nvmlSystemGetDriverVersion(text, _TEXT_BYTES) == 0
        return text.value.decode() if told else None
    finally:
        nvml.nvmlShutdown()


def _library(name: str, load: LoadLibrary) -> Any | None:
    try:
        return load(name)
    except OSError:
        return None
