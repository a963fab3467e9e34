"""What machine this is, in words: the label of a measured time, nothing to decide by."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def describe_hardware() -> str:
    """Processor and cores this process may use, such as `Xeon Platinum 8481C, 2 cores`."""
    return f"{processor_name()}, {len(os.sched_getaffinity(0))} cores"


def processor_name() -> str:
    """Name of the processor, or of its architecture where it has none."""
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
