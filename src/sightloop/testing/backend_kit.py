"""What every Backend promises, as a test case: subclass it and say how to open yours.

    class TestMyBackend(BackendKit):
        @pytest.fixture
        def open_backend(self) -> OpenBackend: ...

Needs pytest, so only tests import this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.runtime.backend import OUTPUT_ABSOLUTE, OUTPUT_RELATIVE, Backend

OpenBackend = Callable[[], Backend]


def _input(backend: Backend, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(backend.contract.input_shape, np.float32)


class BackendKit:
    """The promises of `runtime/backend.py`. Each call of `open_backend` opens one anew."""

    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        """How to open the backend under test."""
        raise NotImplementedError("override open_backend in the subclass")

    def test_contract_names_a_square_rgb_input_and_fixed_sizes(
        self, open_backend: OpenBackend
    ) -> None:
        contract = open_backend().contract
        assert contract.input_name
        assert contract.output_name
        assert contract.input_shape[:2] == (1, 3)
        assert contract.input_shape[2] == contract.input_shape[3]
        assert all(isinstance(size, int) and size > 0 for size in contract.output_shape)

    def test_output_has_the_contracts_shape_and_type(self, open_backend: OpenBackend) -> None:
        backend = open_backend()
        output = backend.run(_input(backend, 0))
        assert output.shape == backend.contract.output_shape
        assert output.dtype == np.float32

    def test_same_input_gives_same_bits(self, open_backend: OpenBackend) -> None:
        first, second = open_backend(), open_backend()
        tensor = _input(first, 1)
        expected = first.run(tensor).copy()
        first.run(_input(first, 2))
        assert first.run(tensor).tobytes() == expected.tobytes()
        assert second.run(tensor).tobytes() == expected.tobytes()

    def test_earlier_output_survives_the_next_run(self, open_backend: OpenBackend) -> None:
        backend = open_backend()
        output = backend.run(_input(backend, 3))
        kept = output.copy()
        backend.run(_input(backend, 4))
        assert np.array_equal(output, kept)

    def test_input_is_not_written_to(self, open_backend: OpenBackend) -> None:
        backend = open_backend()
        tensor = _input(backend, 5)
        kept = tensor.copy()
        backend.run(tensor)
        assert np.array_equal(tensor, kept)

    def test_input_of_another_shape_is_refused(self, open_backend: OpenBackend) -> None:
        backend = open_backend()
        tensor = np.zeros((1, 3, 7, 9), np.float32)
        with pytest.raises(BackendError) as caught:
            backend.run(tensor)
        assert caught.value.reason == "input_shape"

    def test_frames_of_a_batch_get_the_output_that_each_gets_alone(
        self, open_backend: OpenBackend
    ) -> None:
        backend = open_backend()
        shape = backend.contract.input_shape
        frames = np.random.default_rng(7).random((3, *shape[1:]), np.float32)
        if not backend.contract.free_batch:
            with pytest.raises(BackendError) as caught:
                backend.run(frames)
            assert caught.value.reason == "input_shape"
            return
        together = backend.run(frames)
        assert together.shape == (3, *backend.contract.output_shape[1:])
        for number in range(3):
            alone = backend.run(frames[number : number + 1])
            assert np.allclose(
                together[number], alone[0], rtol=OUTPUT_RELATIVE, atol=OUTPUT_ABSOLUTE
            )

    def test_input_of_another_type_is_refused(self, open_backend: OpenBackend) -> None:
        backend = open_backend()
        tensor = np.zeros(backend.contract.input_shape, np.float64)
        with pytest.raises(BackendError) as caught:
            backend.run(tensor)  # type: ignore[arg-type]  # the wrong type is the point
        assert caught.value.reason == "input_shape"

    def test_closed_backend_refuses_and_closes_twice(self, open_backend: OpenBackend) -> None:
        backend, other = open_backend(), open_backend()
        tensor = _input(backend, 6)
        backend.close()
        backend.close()
        with pytest.raises(BackendError) as caught:
            backend.run(tensor)
        assert caught.value.reason == "backend_closed"
        assert other.run(tensor).shape == other.contract.output_shape
