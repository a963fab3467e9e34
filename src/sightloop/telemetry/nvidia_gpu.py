"""Use and memory of NVIDIA GPUs, where `nvidia-ml-py` and a driver are; nothing elsewhere."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One GPU at one moment.

    Attributes:
        gpu: Its index, as the driver counts.
        used_bytes: Memory in use, by whomever.
        total_bytes: Memory there is.
        busy_fraction: Share of the last sample period in which a kernel ran.
        by_pid: Memory by process.
    """

    gpu: int
    used_bytes: int
    total_bytes: int
    busy_fraction: float
    by_pid: dict[int, int]


class GpuProbe:
    """Asks the driver. Made once; asked at each scrape."""

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except Exception:  # no library, no driver, no device: each has an exception of its own
            return
        self._nvml = nvml

    def read(self) -> tuple[GpuUse, ...]:
        """Every GPU; empty where there is none, or the driver does not answer."""
        if self._nvml is None:
            return ()
        try:
            return tuple(self._one(index) for index in range(self._nvml.nvmlDeviceGetCount()))
        except self._nvml.NVMLError:
            return ()

    def _one(self, index: int) -> GpuUse:
        handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return GpuUse(
            gpu=index,
            used_bytes=int(memory.used),
            total_bytes=int(memory.total),
            busy_fraction=self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            by_pid={process.pid: int(process.usedGpuMemory or 0) for process in processes},
        )
