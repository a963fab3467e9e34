from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop.pipeline.training.out_of_memory import is_out_of_memory, kernel_kills


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def test_allocation_that_really_fails_is_out_of_memory() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 50, np.uint8)
    assert is_out_of_memory(caught.value)


def test_torch_on_the_cpu_is_understood() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError(""),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_frameworks_words_are_understood(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_cause_counts() -> None:
    outer = ValueError("no image could be read")
    outer.__cause__ = MemoryError()
    assert is_out_of_memory(outer)


@pytest.mark.parametrize("error", [RuntimeError("the loss exploded"), ValueError("batch 4")])
def test_other_faults_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_kernels_count_is_read(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 12\noom_kill 3\n")
    assert kernel_kills(vmstat) == 3
    vmstat.write_text("nr_free_pages 12\n")
    assert kernel_kills(vmstat) == 0
    assert kernel_kills(tmp_path / "absent") == 0
