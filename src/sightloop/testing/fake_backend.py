"""A Backend without a network: what it answers is a function the test hands in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.runtime.backend import ModelContract

Respond = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class FakeBackend:
    """Keeps the manners of the protocol; `respond` does the work.

    Attributes:
        closed: Whether `close` was called.
    """

    def __init__(self, contract: ModelContract, respond: Respond | None = None) -> None:
        """Answer with `respond`, or with zeros of the contract's shape."""
        self.closed = False
        self._contract = contract
        self._respond = respond or self._zeros

    @property
    def contract(self) -> ModelContract:
        """Names and shapes, as handed in."""
        return self._contract

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer one input; see `Backend.run`."""
        if self.closed:
            raise BackendError("network: it is closed; load it again", reason="backend_closed")
        if not self._contract.takes(tensor.shape) or tensor.dtype != np.float32:
            raise BackendError(
                f"network input: expected {self._contract.input_shape} float32, "
                f"found {tensor.shape} {tensor.dtype}",
                reason="input_shape",
            )
        return self._respond(tensor)

    def close(self) -> None:
        """Refuse every later input."""
        self.closed = True

    def _zeros(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(tensor), *self._contract.output_shape[1:]), tensor.dtype)
