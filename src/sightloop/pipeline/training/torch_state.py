"""What the torch trainers share: kept states as tensors and plain values, devices, precision.

torch is imported when a function is called; importing this file imports none of it. No pickle is
ever run: what is read is tensors and plain values alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightloop._support.files import write_bytes_atomic


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace `path` by tensors and plain values, whole or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes_atomic(path, buffer.getvalue())


def read_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, on the CPU; None if nothing is there that can be read."""
    import pickle  # noqa: TID251  # the name of an error

    import torch

    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) else None


def has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 itself; never a CPU, where it helps little."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return False
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def device_of(wanted: str) -> str:
    """`cpu` or a GPU's number, from what a recipe says."""
    import torch

    if wanted != "auto":
        return wanted
    return "0" if torch.cuda.is_available() else "cpu"
