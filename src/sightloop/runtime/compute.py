"""Where and how a network runs: the provider, its bounds, and what ONNX Runtime is told of them.

Invariant: a provider that is asked for either runs the network or is refused with what is
installed and what to install; nothing falls back to the CPU unseen. Pure: no library is asked here,
`onnx_backend.py` hands in what it found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sightloop.errors import ProviderUnavailableError

_MIB: Final = 1 << 20
_TENSORRT_WORKSPACE_MIB: Final = 1024
_BATCH_ON_GPU: Final = 8


class Provider(StrEnum):
    """What runs networks."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    TORCH = "torch"


class Cost(StrEnum):
    """Which clock shows what a frame costs, seen from the thread that asks."""

    THREAD = "thread"
    """CPU time of the asking thread: it does all of the work."""
    PROCESS = "process"
    """CPU time of the process: the provider has threads of its own."""
    WALL = "wall"
    """Time that passes: a device works, and the CPU waits."""


@dataclass(frozen=True, slots=True)
class Compute:
    """How a worker runs its network.

    Attributes:
        provider: What runs it.
        threads: Threads of one inference on the CPU, the caller's among them.
        device_id: Which GPU, counted as CUDA counts.
        gpu_memory_max_mib: Most that ONNX Runtime's arena takes of the GPU; 0: no bound.
        openvino_device: OpenVINO's name of its device.
        torch_device: `cuda` or `cpu`.
        engine_cache: Folder of compiled engines; None: they are compiled at every load.
        batch_max: Most frames run together, where the network takes several.
    """

    provider: Provider = Provider.CPU
    threads: int = 1
    device_id: int = 0
    gpu_memory_max_mib: int = 0
    openvino_device: str = "CPU"
    torch_device: str = "cuda"
    engine_cache: Path | None = None
    batch_max: int = 1

    @property
    def compiles(self) -> bool:
        """Whether loading compiles an engine that later loads take from the engine cache.

        OpenVINO on the CPU compiles in 0.2 s what it would not take from its cache either: it reads
        the file, throws it away and compiles again.
        """
        on_device = self.provider is Provider.OPENVINO and self.openvino_device != "CPU"
        return self.provider is Provider.TENSORRT or on_device

    @property
    def own_threads(self) -> bool:
        """Whether the provider makes threads; they keep the nice level of their creator."""
        return self.provider is not Provider.CPU or self.threads > 1

    @property
    def cost(self) -> Cost:
        """Which clock the latency gate must take."""
        on_cpu = (
            self.openvino_device == "CPU"
            if self.provider is Provider.OPENVINO
            else self.provider is Provider.TORCH and self.torch_device == "cpu"
        )
        if on_cpu or (self.provider is Provider.CPU and self.threads > 1):
            return Cost.PROCESS
        return Cost.THREAD if self.provider is Provider.CPU else Cost.WALL


ON_CPU: Final = Compute()


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """The input of a network whose batch dimension is free.

    Attributes:
        input_name: Its name.
        frame_shape: One frame's: (3, S, S).
    """

    input_name: str
    frame_shape: tuple[int, ...]

    def of(self, frames: int) -> str:
        """`name:NxCxHxW`, as TensorRT's profiles have it."""
        sizes = "x".join(str(size) for size in (frames, *self.frame_shape))
        return f"{self.input_name}:{sizes}"


def batch_of(provider: Provider) -> int:
    """How many frames a provider runs together unless somebody says otherwise.

    A CPU gains nothing from it; a GPU does.
    """
    gains = provider in (Provider.CUDA, Provider.TENSORRT, Provider.TORCH)
    return _BATCH_ON_GPU if gains else 1


_NAMES: Final = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
    Provider.OPENVINO: "OpenVINOExecutionProvider",
}
_INSTALL: Final = {
    Provider.CUDA: "install onnxruntime-gpu[cuda,cudnn] in the place of onnxruntime",
    Provider.TENSORRT: "install onnxruntime-gpu[cuda,cudnn] in the place of onnxruntime, and "
    "TensorRT's libraries",
    Provider.OPENVINO: "install onnxruntime-openvino in the place of onnxruntime",
}
_START: Final = {
    Provider.CUDA: "see that `nvidia-smi` lists the GPU, and that the CUDA and cuDNN libraries of "
    "the versions named above can be found (onnxruntime-gpu[cuda,cudnn], or LD_LIBRARY_PATH)",
    Provider.TENSORRT: "see that `nvidia-smi` lists the GPU, and that TensorRT's, CUDA's and "
    "cuDNN's libraries are on LD_LIBRARY_PATH",
    Provider.OPENVINO: "see that serve.openvino_device names a device of this machine",
}

ProviderOptions = tuple[str, dict[str, str]]


def onnx_providers(
    compute: Compute, *, engines: Path | None = None, batch: FrameBatch | None = None
) -> list[ProviderOptions]:
    """What an ONNX Runtime session is opened with, the provider asked for first.

    Numbers stay float32 on every device: a release is proven with the digits it serves with, and a
    smaller format is another variant.

    Args:
        compute: What is asked for; not `torch`.
        engines: Folder of this very network's engines.
        batch: The input, where its batch dimension is free.
    """
    cpu: ProviderOptions = (_NAMES[Provider.CPU], {})
    if compute.provider is Provider.CUDA:
        return [_cuda(compute), cpu]
    if compute.provider is Provider.TENSORRT:
        return [_tensorrt(compute, engines, batch), _cuda(compute), cpu]
    if compute.provider is Provider.OPENVINO:
        return [_openvino(compute, engines), cpu]
    return [cpu]


def _cuda(compute: Compute) -> ProviderOptions:
    options = {
        "device_id": str(compute.device_id),
        # Doubling blocks would leave holes that no later network fits into.
        "arena_extend_strategy": "kSameAsRequested",
        # The exhaustive search takes seconds and its largest workspace once for every shape.
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
    }
    if compute.gpu_memory_max_mib:
        options["gpu_mem_limit"] = str(compute.gpu_memory_max_mib * _MIB)
    return _NAMES[Provider.CUDA], options


def _tensorrt(compute: Compute, engines: Path | None, batch: FrameBatch | None) -> ProviderOptions:
    bound_mib = compute.gpu_memory_max_mib or 2 * _TENSORRT_WORKSPACE_MIB
    options = {
        "device_id": str(compute.device_id),
        "trt_max_workspace_size": str(min(_TENSORRT_WORKSPACE_MIB, bound_mib // 2) * _MIB),
        "trt_fp16_enable": "False",
        "trt_int8_enable": "False",
        "trt_builder_optimization_level": "3",
    }
    if engines is not None:
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(engines),
        }
    if batch is not None:
        most = batch.of(compute.batch_max)
        options |= {
            "trt_profile_min_shapes": batch.of(1),
            "trt_profile_opt_shapes": most,
            "trt_profile_max_shapes": most,
        }
    return _NAMES[Provider.TENSORRT], options


def _openvino(compute: Compute, engines: Path | None) -> ProviderOptions:
    device = compute.openvino_device
    properties = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1"}
    if device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = str(compute.threads)
    if engines is not None:
        properties["CACHE_DIR"] = str(engines)
    family = device.partition(":")[0].partition(".")[0]
    config = json.dumps({family: properties})
    return _NAMES[Provider.OPENVINO], {"device_type": device, "load_config": config}


def check_installed(compute: Compute, installed: Sequence[str], *, runtime: str) -> None:
    """Refuse a provider that the installed ONNX Runtime was built without.

    Args:
        compute: What is asked for.
        installed: Providers that it was built with.
        runtime: Its name and version, for the message.

    Raises:
        ProviderUnavailableError: It is not among them (`provider_not_installed`).
    """
    if _NAMES[compute.provider] not in installed:
        raise ProviderUnavailableError(
            f"provider {compute.provider}: expected {runtime} to have {_NAMES[compute.provider]}, "
            f"found {', '.join(installed)}; {_INSTALL[compute.provider]}, or set serve.provider to "
            "what is there",
            "provider_not_installed",
        )


def check_used(
    compute: Compute, used: Sequence[str], nodes: Mapping[str, int] | None, *, runtime: str
) -> None:
    """Refuse a session that runs elsewhere than where it was asked to.

    Args:
        compute: What was asked for.
        used: The session's providers.
        nodes: How many of the network's nodes each provider took; None where that is not told.
        runtime: Name and version of ONNX Runtime, for the message.

    Raises:
        ProviderUnavailableError: The provider did not start (`provider_not_started`), or took
            no node of the network (`provider_unused`).
    """
    name = _NAMES[compute.provider]
    if name not in used:
        raise not_started(compute, f"a session with {', '.join(used)}", runtime=runtime)
    if nodes is not None and not nodes.get(name, 0):
        took = ", ".join(f"{other} {count}" for other, count in nodes.items())
        raise ProviderUnavailableError(
            f"provider {compute.provider}: expected it to run the network, found that it takes "
            f"none of its nodes ({took}); use another provider for this release",
            "provider_unused",
        )


def not_started(compute: Compute, found: str, *, runtime: str) -> ProviderUnavailableError:
    """The error for a provider that is installed and does not start."""
    return ProviderUnavailableError(
        f"provider {compute.provider}: expected it to start in {runtime}, found {found}; "
        f"{_START[compute.provider]}",
        "provider_not_started",
    )
