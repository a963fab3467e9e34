"""ONNX Runtime as a Backend; the only file that imports onnxruntime.

Invariant: with `threads=1` a session makes no thread of its own, so a network runs wholly on its
caller's thread, at that thread's priority. Shapes are read from the file, fixed, and never
guessed; whether they are those of a manifest is `loaded_release.py`'s business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _ort

from sightloop.errors import BackendError, ModelLoadError
from sightloop.runtime.backend import ModelContract

_ERRORS_ONLY = 3
_FLOAT = "tensor(float)"
# ONNX Runtime's exceptions have no root of their own; the last three come from its bindings.
_FAILURES = (
    _ort.EPFail,
    _ort.EngineError,
    _ort.Fail,
    _ort.InvalidArgument,
    _ort.InvalidGraph,
    _ort.InvalidProtobuf,
    _ort.ModelLoaded,
    _ort.NoModel,
    _ort.NoSuchFile,
    _ort.NotImplemented,
    _ort.RuntimeException,
    RuntimeError,
    ValueError,
    MemoryError,
)


def available_providers() -> tuple[str, ...]:
    """Execution providers of the installed ONNX Runtime, best first."""
    return tuple(str(name) for name in onnxruntime.get_available_providers())


class OnnxBackend:
    """One ONNX Runtime session on the CPU. One thread at a time calls `run`."""

    def __init__(self, session: Any, contract: ModelContract) -> None:
        self._session = session
        self._contract = contract
        self._outputs = [contract.output_name]

    @property
    def contract(self) -> ModelContract:
        """Names and shapes, as the file states them."""
        return self._contract

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer one input.

        Args:
            tensor: float32 of `contract.input_shape`, RGB in 0..1.

        Returns:
            float32 of `contract.output_shape`.

        Raises:
            BackendError: Closed (`backend_closed`), another shape or type (`input_shape`), or
                the network failed on this input (`inference_failed`).
        """
        if self._session is None:
            raise BackendError("network: it is closed; load it again", reason="backend_closed")
        if tensor.shape != self._contract.input_shape or tensor.dtype != np.float32:
            raise BackendError(
                f"network input: expected {self._contract.input_shape} float32, "
                f"found {tensor.shape} {tensor.dtype}",
                reason="input_shape",
            )
        try:
            answers = self._session.run(self._outputs, {self._contract.input_name: tensor})
        except _FAILURES as error:
            raise BackendError(
                f"network: it failed on an input: {error}", reason="inference_failed"
            ) from error
        output: NDArray[np.float32] = answers[0]
        return output

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        self._session = None


def open_onnx(path: Path, *, threads: int = 1) -> OnnxBackend:
    """Load an ONNX file.

    Args:
        path: The file; weights outside of it are not looked for.
        threads: Threads of one inference, the caller's among them.

    Returns:
        A backend that can answer.

    Raises:
        ModelLoadError: No such file, no ONNX, an unknown operator, no memory
            (`model_unloadable`); not one float input and one float output of fixed shapes
            (`model_signature`).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    # A spinning pool takes the time slice of the other worker on the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except _FAILURES as error:
        raise ModelLoadError(
            f"model {path.name}: expected an ONNX file that ONNX Runtime "
            f"{onnxruntime.__version__} loads: {error}; export it again"
        ) from error
    return OnnxBackend(session, _read_contract(session, path.name))


def _read_contract(session: Any, file_name: str) -> ModelContract:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelLoadError(
            f"model {file_name}: expected one input and one output, found "
            f"{[part.name for part in inputs]} and {[part.name for part in outputs]}",
            reason="model_signature",
        )
    return ModelContract(
        input_name=inputs[0].name,
        input_shape=_fixed_shape(inputs[0], file_name),
        output_name=outputs[0].name,
        output_shape=_fixed_shape(outputs[0], file_name),
    )


def _fixed_shape(part: Any, file_name: str) -> tuple[int, ...]:
    sizes: list[int] = [size for size in part.shape if isinstance(size, int) and size > 0]
    if part.type != _FLOAT or len(sizes) != len(part.shape):
        raise ModelLoadError(
            f"model {file_name}: {part.name}: expected float32 of fixed sizes, found "
            f"{part.type} {part.shape}; export with a fixed shape (dynamic=False, half=False)",
            reason="model_signature",
        )
    return tuple(sizes)
