"""Tells a training that ran out of memory from one that is broken.

Told by the error itself, without importing any framework, and by the kernel's own count of the
processes it has killed for memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_VMSTAT: Final = Path("/proc/vmstat")
_WORDS: Final = (
    "out of memory",  # CUDA's, through torch
    "can't allocate memory",  # torch's allocator on the CPU
    "cannot allocate memory",  # the system's own words for ENOMEM
    "not enough memory",  # torch's allocator on other systems
    "insufficient memory",  # OpenCV
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that memory did not suffice."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError":
            return True
        text = str(seen).lower()
        if any(words in text for words in _WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def kernel_kills(vmstat: Path = _VMSTAT) -> int:
    """How many processes the kernel has killed for want of memory; 0 where it does not say."""
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:
        return 0
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else 0
