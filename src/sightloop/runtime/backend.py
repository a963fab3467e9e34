"""What runs a network: one protocol, and one adapter a technique.

The adapters are `onnx_backend.py` and `torch_backend.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

OUTPUT_RELATIVE: Final = 1e-3
OUTPUT_ABSOLUTE: Final = 2e-3
"""How far raw outputs (px and scores) of one frame may lie apart that should be the same."""


@dataclass(frozen=True, slots=True)
class ModelContract:
    """Names and shapes of a network's one input and one output, as the file states them.

    Attributes:
        input_name: Name of the input.
        input_shape: (1, 3, S, S).
        output_name: Name of the output.
        output_shape: For one frame: (1, ...).
        free_batch: Whether the first size of both is free: `run` then takes any number of frames.
    """

    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]
    free_batch: bool = False

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of this shape may be run."""
        if not self.free_batch:
            return shape == self.input_shape
        return len(shape) > 1 and shape[0] > 0 and shape[1:] == self.input_shape[1:]


class Backend(Protocol):
    """A loaded network. One thread at a time calls `run`."""

    @property
    def contract(self) -> ModelContract:
        """Names and shapes."""

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer one input.

        Args:
            tensor: (1, 3, S, S) float32, RGB in 0..1; (n, 3, S, S) where the batch is free.

        Returns:
            The raw output, shaped as `contract.output_shape` with n in the place of its 1.

        Raises:
            BackendError: The network failed on this input.
        """

    def close(self) -> None:
        """Give the memory back. Nothing may be called afterwards."""


def different_frames(count: int, side_px: int) -> NDArray[np.float32]:
    """Inputs that no network answers alike: blocks and noise, each brighter than the last.

    Returns:
        (count, 3, side_px, side_px) float32 in 0..1, the same at every call.
    """
    rng = np.random.default_rng(0)
    blocks = rng.random((count, 3, 8, 8), np.float32)
    enlarged = blocks.repeat(-(-side_px // 8), 2).repeat(-(-side_px // 8), 3)
    frames = enlarged[:, :, :side_px, :side_px]
    frames = 0.8 * frames + 0.2 * rng.random((count, 3, side_px, side_px), np.float32)
    brightness = np.linspace(0.4, 1.0, count, dtype=np.float32)
    return np.ascontiguousarray(frames * brightness[:, None, None, None], np.float32)
