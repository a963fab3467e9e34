from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sightloop.errors import BackendError, ModelLoadError, ProviderUnavailableError
from sightloop.runtime import onnx_backend
from sightloop.runtime.backend import ModelContract
from sightloop.runtime.compute import Compute, Provider, onnx_providers
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.tiny_detectors import build_tiny_detector

_SHAPE = (1, 3, 32, 32)
NO_SUCH_PROVIDER = pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
"""ONNX Runtime warns of what it was built without; the tests pretend that it was not."""


def _write(
    path: Path,
    *,
    node: onnx.NodeProto,
    input_type: int = TensorProto.FLOAT,
    input_shape: Sequence[int | str] = _SHAPE,
    outputs: Sequence[str] = ("out",),
) -> Path:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("in", input_type, input_shape)],
        [helper.make_tensor_value_info(name, input_type, None) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def _relu() -> onnx.NodeProto:
    return helper.make_node("Relu", ["in"], ["out"])


def _thread_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_contract_is_read_from_the_file(tmp_path: Path) -> None:
    written = build_tiny_detector(tmp_path / "model.onnx", side_px=96)
    assert open_onnx(tmp_path / "model.onnx").contract == written
    assert written == ModelContract("images", (1, 3, 96, 96), "output0", (1, 6, 288))


def test_missing_file_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"gone\.onnx") as caught:
        open_onnx(tmp_path / "gone.onnx")
    assert caught.value.reason == "model_unloadable"


@pytest.mark.parametrize("data", [b"", b"no model", bytes(5000)], ids=["empty", "text", "zeros"])
def test_bytes_that_are_no_model_cannot_be_loaded(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelLoadError):
        open_onnx(path)


def test_cut_model_cannot_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    build_tiny_detector(path)
    data = path.read_bytes()
    for length in (100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ModelLoadError):
            open_onnx(path)


def test_unknown_operator_cannot_be_loaded(tmp_path: Path) -> None:
    node = helper.make_node("NoSuchThing", ["in"], ["out"])
    with pytest.raises(ModelLoadError):
        open_onnx(_write(tmp_path / "model.onnx", node=node))


@pytest.mark.parametrize(
    "changes",
    [
        {"input_shape": (1, 3, "height", "width")},
        {"input_type": TensorProto.FLOAT16},
    ],
    ids=["free side", "half precision"],
)
def test_input_that_is_not_fixed_float32_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = _write(tmp_path / "model.onnx", node=_relu(), **changes)  # type: ignore[arg-type]  # table
    with pytest.raises(ModelLoadError) as caught:
        open_onnx(path)
    assert caught.value.reason == "model_signature"


def test_second_output_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Split", ["in"], ["out", "rest"], axis=2)
    path = _write(tmp_path / "model.onnx", node=node, outputs=("out", "rest"))
    with pytest.raises(ModelLoadError) as caught:
        open_onnx(path)
    assert caught.value.reason == "model_signature"


def test_network_that_fails_on_an_input_says_so(tmp_path: Path) -> None:
    # The sum of the input is where a Gather reads: an index far outside at run time.
    nodes = [
        helper.make_node("ReduceSum", ["in"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["in", "index"], ["out"], axis=3),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, _SHAPE)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3, 32))],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    backend = open_onnx(path)
    assert backend.run(np.zeros(_SHAPE, np.float32)).shape == (1, 3, 32)
    with pytest.raises(BackendError) as caught:
        backend.run(np.ones(_SHAPE, np.float32))
    assert caught.value.reason == "inference_failed"


def test_one_thread_means_no_thread_of_its_own(tmp_path: Path) -> None:
    build_tiny_detector(tmp_path / "model.onnx")
    open_onnx(tmp_path / "model.onnx").run(np.zeros((1, 3, 160, 160), np.float32))
    before = _thread_count()
    counts: list[int] = []

    def load_and_run() -> None:
        backend = open_onnx(tmp_path / "model.onnx", compute=Compute(threads=1))
        backend.run(np.zeros((1, 3, 160, 160), np.float32))
        counts.append(_thread_count())

    thread = threading.Thread(target=load_and_run)
    thread.start()
    thread.join()
    assert counts == [before + 1]


def test_free_number_of_frames_is_read_from_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "model.onnx", node=_relu(), input_shape=("batch", 3, 32, 32))
    backend = open_onnx(path)
    assert backend.contract == ModelContract("in", _SHAPE, "out", _SHAPE, free_batch=True)
    frames = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    assert backend.run(frames).tobytes() == frames.tobytes()


def test_free_number_of_frames_that_the_output_does_not_have_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["in"], ["out"], axes=[0], keepdims=1)],
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ("batch", 3, 32, 32))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, _SHAPE)],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    with pytest.raises(ModelLoadError) as caught:
        open_onnx(path)
    assert caught.value.reason == "model_signature"


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT, Provider.OPENVINO])
def test_provider_that_is_not_there_is_refused_and_the_cpu_does_not_step_in(
    tmp_path: Path, provider: Provider
) -> None:
    build_tiny_detector(tmp_path / "model.onnx")
    name = onnx_providers(Compute(provider))[0][0]
    if name in onnx_backend.available_providers():
        pytest.skip(f"{name} is installed here")
    with pytest.raises(ProviderUnavailableError) as caught:
        open_onnx(tmp_path / "model.onnx", compute=Compute(provider))
    assert caught.value.reason == "provider_not_installed"


@NO_SUCH_PROVIDER
def test_broken_file_is_not_blamed_on_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    monkeypatch.setattr(onnx_backend, "available_providers", lambda: ("CUDAExecutionProvider",))
    with pytest.raises(ModelLoadError):
        open_onnx(tmp_path / "model.onnx", compute=Compute(Provider.CUDA))


@NO_SUCH_PROVIDER
def test_provider_that_is_built_in_and_does_not_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tiny_detector(tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_backend, "available_providers", lambda: ("CUDAExecutionProvider",))
    with pytest.raises(ProviderUnavailableError) as caught:
        open_onnx(tmp_path / "model.onnx", compute=Compute(Provider.CUDA))
    assert caught.value.reason == "provider_not_started"
