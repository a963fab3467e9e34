"""What runs a network: one protocol, one adapter a technique (`onnx_backend.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelContract:
    """Names and shapes of a network's one input and one output, as the file states them."""

    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]


class Backend(Protocol):
    """A loaded network. One thread at a time calls `run`."""

    @property
    def contract(self) -> ModelContract:
        """Names and shapes."""

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer one input.

        Args:
            tensor: (1, 3, S, S) float32, RGB in 0..1.

        Returns:
            The raw output, shaped as `contract.output_shape`.

        Raises:
            BackendError: The network failed on this input.
        """

    def close(self) -> None:
        """Give the memory back. Nothing may be called afterwards."""
