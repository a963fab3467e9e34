"""What the driver's libraries say, told by libraries that stand in for them."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from sightloop.runtime.gpu import find_gpu, gpu_memory, tensorrt_version


class _Cuda:
    """libcuda's calls with two GPUs; `broken` fails."""

    def __init__(self, broken: str = "") -> None:
        self._broken = broken

    def _answer(self, call: str) -> int:
        return 100 if call == self._broken else 0

    def cuInit(self, flags: int) -> int:  # noqa: N802  # the driver's name
        return self._answer("cuInit")

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 101 if ordinal > 1 else self._answer("cuDeviceGet")

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:  # noqa: N802
        name.value = (b"NVIDIA A", b"NVIDIA B")[device.value]
        return self._answer("cuDeviceGetName")

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12040
        return self._answer("cuDriverGetVersion")

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 9}[attribute]
        return 0


class _Nvml:
    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:  # noqa: N802
        text.value = b"550.54.15"
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802
        return 0 if index == 0 else 2

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.total, memory._obj.used = 24 << 30, 1 << 30
        return 0


class _Libraries:
    def __init__(self, **libraries: object) -> None:
        self._libraries = libraries

    def __call__(self, name: str) -> Any:
        short = name.partition(".")[0].removeprefix("lib").replace("-", "_")
        if short not in self._libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return self._libraries[short]


ALL = _Libraries(cuda=_Cuda(), nvidia_ml=_Nvml())


def test_gpu_is_the_one_that_cuda_calls_by_this_number() -> None:
    gpu = find_gpu(1, load=ALL)
    assert gpu is not None
    assert (gpu.name, gpu.capability, gpu.driver) == ("NVIDIA B", "8.9", "550.54.15")


def test_driver_is_named_by_its_cuda_interface_where_nothing_else_tells() -> None:
    gpu = find_gpu(0, load=_Libraries(cuda=_Cuda()))
    assert gpu is not None
    assert gpu.driver == "cuda 12.4"


@pytest.mark.parametrize("broken", ["cuInit", "cuDeviceGet", "cuDeviceGetName"])
def test_driver_that_fails_is_no_gpu(broken: str) -> None:
    assert find_gpu(0, load=_Libraries(cuda=_Cuda(broken))) is None


def test_number_beyond_the_last_gpu_is_no_gpu() -> None:
    assert find_gpu(2, load=ALL) is None


def test_machine_without_a_driver_has_no_gpu_and_no_memory_of_one() -> None:
    nothing = _Libraries()
    assert find_gpu(0, load=nothing) is None
    assert gpu_memory(0, load=nothing) is None
    assert tensorrt_version(load=nothing) == "unknown"


def test_memory_of_a_gpu_is_told_in_bytes() -> None:
    memory = gpu_memory(0, load=ALL)
    assert memory is not None
    assert (memory.total_bytes, memory.used_bytes) == (24 << 30, 1 << 30)
    assert gpu_memory(1, load=ALL) is None


def test_version_of_tensorrt_is_that_of_the_library_that_is_found() -> None:
    class _Infer:
        def getInferLibVersion(self) -> int:  # noqa: N802
            return 100900

    assert tensorrt_version(load=_Libraries(nvinfer=_Infer())) == "100900"


def test_a_real_loader_fails_like_the_one_above() -> None:
    with pytest.raises(OSError, match="cannot open"):
        ctypes.CDLL("libsightloop-is-no-library.so.1")
