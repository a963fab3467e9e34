"""Real servers on other providers than the CPU, as far as this machine has them; and refusals."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.errors import ServingError
from sightloop.release.bundle import read_bundle
from sightloop.runtime.gpu import find_gpu, gpu_memory
from sightloop.runtime.loaded_release import load_release
from sightloop.runtime.onnx_backend import available_providers
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

CLOCK = SystemClock()
PREFIX = "SIGHTLOOP_SERVE_"
MIB = 1 << 20


def serve(traffic: Traffic, folder: Path, **settings: str) -> ServerProcess:
    return ServerProcess(
        traffic.workspace.root,
        log=folder / "server.log",
        releases=[traffic.folder_of(traffic.digests[0])],
        environment={PREFIX + name.upper(): value for name, value in settings.items()},
    )


def answers_as_the_cpu_does(traffic: Traffic, folder: Path, **settings: str) -> None:
    """Serve, update, and hold answers of both releases against the CPU provider's."""
    with serve(traffic, folder, **settings) as server, Client(server.url) as client:
        for digest in traffic.digests:
            if digest != traffic.digests[0]:
                outcome = client.update(traffic.line, digest=digest)
                assert outcome["state"] == "ACTIVE", outcome["refused"]
            bundle = read_bundle(traffic.folder_of(digest))
            cpu = load_release(bundle.folder, bundle.manifest, bundle.digest)
            for path in sorted(traffic.images.iterdir())[:8]:
                answer = client.detect(path.read_bytes())
                expected = cpu.answer(path.read_bytes()).detections
                assert answer["release"]["digest"] == digest
                found = answer["detections"]
                assert [one["class_id"] for one in found] == expected.classes.tolist()
                for one, box in zip(found, expected.boxes, strict=True):
                    assert one["box"] == pytest.approx(box.tolist(), abs=0.05)
        assert server.stop() == 0


def test_server_on_torch_answers_as_the_cpu_does(tmp_path: Path) -> None:
    for library in ("torch", "onnx2pytorch"):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed: pip install 'sightloop[torch]'")
    traffic = tiny_traffic(tmp_path, images=8)
    answers_as_the_cpu_does(traffic, tmp_path, provider="torch", torch_device="cpu")


def test_server_on_openvino_answers_as_the_cpu_does(tmp_path: Path) -> None:
    if "OpenVINOExecutionProvider" not in available_providers():
        pytest.skip("onnxruntime-openvino is not installed in the place of onnxruntime")
    answers_as_the_cpu_does(tiny_traffic(tmp_path, images=8), tmp_path, provider="openvino")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_server_does_not_start_on_a_provider_that_is_not_there(
    tmp_path: Path, provider: str
) -> None:
    if find_gpu(0) is not None:
        pytest.skip("this machine has an NVIDIA GPU")
    traffic = tiny_traffic(tmp_path, releases=1, images=1)
    with pytest.raises(ServingError, match=r"provider_not_(installed|started)"):
        serve(traffic, tmp_path, provider=provider)


def test_end_of_the_processes_returns_all_gpu_memory(tmp_path: Path) -> None:
    if find_gpu(0) is None or "CUDAExecutionProvider" not in available_providers():
        pytest.skip("no NVIDIA GPU, or no GPU build of ONNX Runtime")
    before = gpu_memory(0)
    assert before is not None
    traffic = tiny_traffic(tmp_path, images=8)
    with serve(traffic, tmp_path, provider="cuda") as server, Client(server.url) as client:
        held = gpu_memory(0)
        assert held is not None
        assert held.used_bytes > before.used_bytes + 50 * MIB  # a context alone takes more
        one, two = traffic.digests
        for digest in (two, one, two, one, two):
            assert client.update(traffic.line, digest=digest)["state"] == "ACTIVE"
        client.detect(next(traffic.images.iterdir()).read_bytes())
        assert server.stop() == 0
    deadline_s = CLOCK.monotonic_s() + 20
    while True:  # the driver frees a process's memory shortly after its end
        after = gpu_memory(0)
        assert after is not None
        if after.used_bytes <= before.used_bytes + 5 * MIB:
            break
        assert CLOCK.monotonic_s() < deadline_s, (before, after)
        CLOCK.sleep_s(0.1)
