"""ONNX Runtime as a Backend; the only file that imports onnxruntime.

Invariant: on the CPU with one thread a session makes no thread of its own, so a network runs wholly
on its caller's thread, at that thread's priority. A session runs on the provider that was asked
for, or there is none. Shapes are read from the file, fixed but for the number of frames, and never
guessed; whether they are those of a manifest is `loaded_release.py`'s business.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _ort

from sightloop.errors import BackendError, ModelLoadError
from sightloop.runtime.backend import ModelContract
from sightloop.runtime.compute import (
    ON_CPU,
    Compute,
    FrameBatch,
    Provider,
    check_installed,
    check_used,
    not_started,
    onnx_providers,
)

_ERRORS_ONLY = 3
_FLOAT = "tensor(float)"
_OUT_OF_MEMORY = "out_of_memory"
_NO_MEMORY = ("std::bad_alloc", "Failed to allocate memory")
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


def runtime_version() -> str:
    """Name and version of the runtime, such as `onnxruntime 1.32.0`."""
    return f"onnxruntime {onnxruntime.__version__}"


class OnnxBackend:
    """One ONNX Runtime session. Several threads may call `run` at a time."""

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
            tensor: float32 that `contract` takes, RGB in 0..1.

        Returns:
            float32 of `contract.output_shape`, with as many frames as `tensor`.

        Raises:
            BackendError: Closed (`backend_closed`), another shape or type (`input_shape`), or
                the network failed on this input (`inference_failed`, `out_of_memory`).
        """
        if self._session is None:
            raise BackendError("network: it is closed; load it again", reason="backend_closed")
        if not self._contract.takes(tensor.shape) or tensor.dtype != np.float32:
            raise BackendError(
                f"network input: expected {self._contract.input_shape} float32, "
                f"found {tensor.shape} {tensor.dtype}",
                reason="input_shape",
            )
        try:
            answers = self._session.run(self._outputs, {self._contract.input_name: tensor})
        except _FAILURES as error:
            raise BackendError(
                f"network: it failed on an input: {error}",
                reason=_OUT_OF_MEMORY if _lacks_memory(error) else "inference_failed",
            ) from error
        output: NDArray[np.float32] = answers[0]
        return output

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        self._session = None


def open_onnx(
    path: Path,
    *,
    compute: Compute = ON_CPU,
    engines: Path | None = None,
    batch: FrameBatch | None = None,
) -> OnnxBackend:
    """Load an ONNX file.

    Args:
        path: The file; weights outside of it are not looked for.
        compute: What runs it, and within which bounds; not `torch`.
        engines: Folder of this network's compiled engines, for a provider that compiles.
        batch: Its input, where the batch dimension is free; TensorRT must know it beforehand.

    Returns:
        A backend that can answer.

    Raises:
        ProviderUnavailableError: The provider is not installed, does not start, or takes nothing
            of this network.
        ModelLoadError: No such file, no ONNX, an unknown operator (`model_unloadable`); no memory
            (`out_of_memory`); not one float input and one float output of fixed shapes but for
            the number of frames (`model_signature`).
    """
    check_installed(compute, available_providers(), runtime=runtime_version())
    if not path.is_file():
        raise ModelLoadError(f"model {path}: expected an ONNX file, found none; name another")
    missing = _find_cuda_libraries(compute)
    providers = onnx_providers(compute, engines=engines, batch=batch)
    try:
        # Left to itself ONNX Runtime goes to the CPU when a provider fails, at load and at run.
        session = onnxruntime.InferenceSession(
            str(path),
            sess_options=_options(compute),
            providers=providers,
            enable_fallback=0,
        )
    except _FAILURES as error:
        if _lacks_memory(error):
            raise ModelLoadError(
                f"model {path.name}: expected to load into the memory that this process may take: "
                f"{error}; allow more or use a smaller network",
                reason=_OUT_OF_MEMORY,
            ) from error
        if compute.provider is not Provider.CPU and _loads_on_cpu(path):
            found = f"{missing}; {error}" if missing else str(error)
            raise not_started(compute, found, runtime=runtime_version()) from error
        raise ModelLoadError(
            f"model {path.name}: expected an ONNX file that ONNX Runtime "
            f"{onnxruntime.__version__} loads: {error}; export it again"
        ) from error
    used, nodes = session.get_providers(), _assigned_nodes(session)
    where = f"{runtime_version()} ({missing})" if missing else runtime_version()
    check_used(compute, used, nodes, runtime=where)
    return OnnxBackend(session, _read_contract(session, path.name))


def _options(compute: Compute) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = compute.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    # A spinning pool takes the time slice of the other worker on the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if compute.provider is not Provider.CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _find_cuda_libraries(compute: Compute) -> str:
    """Load CUDA's libraries where pip has put them; others are found by the system's loader.

    Returns:
        What was not found that way; empty if nothing is to be said.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    if compute.provider not in (Provider.CUDA, Provider.TENSORRT) or preload is None:
        return ""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        preload()
    return said.getvalue().partition("\n")[0]


def _loads_on_cpu(path: Path) -> bool:
    """Whether the file is sound, so that its provider is to blame."""
    try:
        onnxruntime.InferenceSession(
            str(path), sess_options=_options(ON_CPU), providers=["CPUExecutionProvider"]
        )
    except _FAILURES:
        return False
    return True


def _assigned_nodes(session: Any) -> Mapping[str, int] | None:
    """Nodes of the network by provider; None where ONNX Runtime does not tell (before 1.24)."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return None
    try:
        parts = tell()
    except _FAILURES:  # not recorded: a session on the CPU
        return None
    counts: Counter[str] = Counter()
    for part in parts:
        counts[part.ep_name] += len(part.get_nodes())
    return counts


def _lacks_memory(error: Exception) -> bool:
    """ONNX Runtime has no type for it, but one wording for each of its two allocators."""
    said = str(error)
    return isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY)


def _read_contract(session: Any, file_name: str) -> ModelContract:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelLoadError(
            f"model {file_name}: expected one input and one output, found "
            f"{[part.name for part in inputs]} and {[part.name for part in outputs]}",
            reason="model_signature",
        )
    free_batch = _is_free(inputs[0].shape) and _is_free(outputs[0].shape)
    return ModelContract(
        input_name=inputs[0].name,
        input_shape=_shape_of_one(inputs[0], file_name, free_batch=free_batch),
        output_name=outputs[0].name,
        output_shape=_shape_of_one(outputs[0], file_name, free_batch=free_batch),
        free_batch=free_batch,
    )


def _is_free(shape: list[Any]) -> bool:
    return bool(shape) and not isinstance(shape[0], int)


def _shape_of_one(part: Any, file_name: str, *, free_batch: bool) -> tuple[int, ...]:
    """The shape for one frame."""
    shape = [1, *part.shape[1:]] if free_batch else part.shape
    sizes: list[int] = [size for size in shape if isinstance(size, int) and size > 0]
    if part.type != _FLOAT or len(sizes) != len(part.shape):
        raise ModelLoadError(
            f"model {file_name}: {part.name}: expected float32 of fixed sizes, but for the number "
            f"of frames in input and output, found {part.type} {part.shape}; export with a fixed "
            "shape (dynamic=False, half=False)",
            reason="model_signature",
        )
    return tuple(sizes)
