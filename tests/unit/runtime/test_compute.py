from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.errors import ProviderUnavailableError
from sightloop.runtime.compute import (
    ON_CPU,
    Compute,
    Cost,
    FrameBatch,
    Provider,
    batch_of,
    check_installed,
    check_used,
    onnx_providers,
)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
RUNTIME = "onnxruntime 1.32.0"
BATCH = FrameBatch("images", (3, 640, 640))


def test_cpu_is_asked_for_alone() -> None:
    assert onnx_providers(ON_CPU) == [(CPU, {})]


def test_gpu_memory_is_bounded_and_grows_by_what_is_needed() -> None:
    compute = Compute(Provider.CUDA, device_id=1, gpu_memory_max_mib=512)
    (name, options), last = onnx_providers(compute)
    assert (name, last[0]) == (CUDA, CPU)
    assert options["gpu_mem_limit"] == str(512 << 20)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["device_id"] == "1"


def test_no_bound_on_gpu_memory_is_no_option() -> None:
    assert "gpu_mem_limit" not in onnx_providers(Compute(Provider.CUDA))[0][1]


def test_numbers_stay_float32_on_every_device() -> None:
    assert onnx_providers(Compute(Provider.CUDA))[0][1]["use_tf32"] == "0"
    tensorrt = onnx_providers(Compute(Provider.TENSORRT))[0][1]
    assert (tensorrt["trt_fp16_enable"], tensorrt["trt_int8_enable"]) == ("False", "False")
    openvino = json.loads(onnx_providers(Compute(Provider.OPENVINO))[0][1]["load_config"])
    assert openvino["CPU"]["INFERENCE_PRECISION_HINT"] == "f32"


def test_tensorrt_keeps_its_engines_and_leaves_the_rest_to_cuda(tmp_path: Path) -> None:
    compute = Compute(Provider.TENSORRT, device_id=2, gpu_memory_max_mib=1000)
    found = onnx_providers(compute, engines=tmp_path)
    assert [name for name, _ in found] == [TENSORRT, CUDA, CPU]
    options = found[0][1]
    assert options["trt_engine_cache_enable"] == "True"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_max_workspace_size"] == str(500 << 20)
    assert found[1][1]["device_id"] == options["device_id"] == "2"


def test_tensorrt_learns_the_range_of_a_free_batch_beforehand() -> None:
    options = onnx_providers(Compute(Provider.TENSORRT, batch_max=8), batch=BATCH)[0][1]
    assert options["trt_profile_min_shapes"] == "images:1x3x640x640"
    assert options["trt_profile_max_shapes"] == "images:8x3x640x640"
    assert "trt_profile_max_shapes" not in onnx_providers(Compute(Provider.TENSORRT))[0][1]


@pytest.mark.parametrize(
    ("device", "family"), [("CPU", "CPU"), ("GPU.1", "GPU"), ("AUTO:GPU,CPU", "AUTO")]
)
def test_openvino_is_told_its_device_threads_and_cache(
    tmp_path: Path, device: str, family: str
) -> None:
    compute = Compute(Provider.OPENVINO, threads=3, openvino_device=device)
    (name, options), _ = onnx_providers(compute, engines=tmp_path)
    config = json.loads(options["load_config"])
    assert (name, options["device_type"]) == (OPENVINO, device)
    assert config[family]["CACHE_DIR"] == str(tmp_path)
    assert config[family].get("INFERENCE_NUM_THREADS") == ("3" if device == "CPU" else None)


@pytest.mark.parametrize(
    ("compute", "cost", "own_threads", "compiles"),
    [
        (ON_CPU, Cost.THREAD, False, False),
        (Compute(threads=2), Cost.PROCESS, True, False),
        (Compute(Provider.OPENVINO), Cost.PROCESS, True, False),
        (Compute(Provider.OPENVINO, openvino_device="GPU"), Cost.WALL, True, True),
        (Compute(Provider.CUDA), Cost.WALL, True, False),
        (Compute(Provider.TENSORRT), Cost.WALL, True, True),
        (Compute(Provider.TORCH), Cost.WALL, True, False),
        (Compute(Provider.TORCH, torch_device="cpu"), Cost.PROCESS, True, False),
    ],
)
def test_clock_is_that_of_what_does_the_work(
    compute: Compute, cost: Cost, own_threads: bool, compiles: bool
) -> None:
    assert (compute.cost, compute.own_threads, compute.compiles) == (cost, own_threads, compiles)


def test_frames_are_run_together_on_a_gpu_alone() -> None:
    assert {provider: batch_of(provider) > 1 for provider in Provider} == {
        Provider.CPU: False,
        Provider.OPENVINO: False,
        Provider.CUDA: True,
        Provider.TENSORRT: True,
        Provider.TORCH: True,
    }


def test_provider_that_is_not_installed_is_refused_with_what_is_there_and_what_to_install() -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        check_installed(Compute(Provider.CUDA), [CPU], runtime=RUNTIME)
    assert caught.value.reason == "provider_not_installed"
    for word in (CUDA, RUNTIME, CPU, "onnxruntime-gpu"):
        assert word in caught.value.message


def test_provider_that_is_installed_is_let_through() -> None:
    check_installed(Compute(Provider.CUDA), [CUDA, CPU], runtime=RUNTIME)


def test_session_that_fell_back_to_the_cpu_is_refused() -> None:
    with pytest.raises(ProviderUnavailableError, match="nvidia-smi") as caught:
        check_used(Compute(Provider.CUDA), [CPU], None, runtime=RUNTIME)
    assert caught.value.reason == "provider_not_started"


def test_provider_that_takes_no_node_is_refused() -> None:
    with pytest.raises(ProviderUnavailableError, match=f"{CPU} 58") as caught:
        check_used(Compute(Provider.OPENVINO), [OPENVINO, CPU], {CPU: 58}, runtime=RUNTIME)
    assert caught.value.reason == "provider_unused"


@pytest.mark.parametrize("nodes", [None, {CUDA: 200, CPU: 3}])
def test_session_on_its_provider_is_let_through(nodes: dict[str, int] | None) -> None:
    check_used(Compute(Provider.CUDA), [CUDA, CPU], nodes, runtime=RUNTIME)
