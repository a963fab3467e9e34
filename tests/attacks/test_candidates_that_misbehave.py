"""Promise: a candidate that hangs, crashes, eats memory or answers no numbers costs only itself.

One real server under traffic takes them all. None may lose or change an answer of the champion,
and afterwards a good candidate is taken as if nothing had been.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.release.signing import load_signing_key
from sightloop.testing import bad_models
from sightloop.testing.camera import CameraProcess, images_of
from sightloop.testing.checker import check_records
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

CLOCK = SystemClock()
LIMIT_S = 6.0
MEMORY_MIB = 128
HEAVY_MIB = 160
GREEDY_MIB = 1024
FPS = 15

Spoil = Callable[[Path, Path], object]


@dataclass(slots=True)
class _Site:
    """A server, its traffic and the frames sent so far."""

    traffic: Traffic
    server: ServerProcess
    client: Client
    folder: Path
    versions: Iterator[int]

    def build(self, spoil: Spoil | None) -> Path:
        number = next(self.versions)
        good, bad = self.folder / f"{number}-good.onnx", self.folder / f"{number}.onnx"
        build_tiny_detector(good, variant=1)
        if spoil is not None:
            spoil(good, bad)
        path = self.folder / f"2.{number}.0"
        key = load_signing_key(self.traffic.workspace.keys / "default.key")
        build_tiny_release(
            path,
            semver=f"2.{number}.0",
            key=key,
            variant=1,
            model=bad if spoil is not None else good,
        )
        return path

    def offer(self, path: Path) -> dict[str, Any]:
        return dict(self.client.update("plate", bundle=path))

    def champion(self) -> tuple[str, int]:
        """Digest and process of who serves."""
        champion = self.client.status("plate")["champion"]
        return str(champion["release"]["digest"]), int(champion["workers"][0]["pid"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    """Everything is checked at the end: lost, mixed and stale answers, and the last candidate."""
    folder = tmp_path_factory.mktemp("site")
    traffic = tiny_traffic(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLOOP_SERVE_CANDIDATE_TIMEOUT_S", str(LIMIT_S))
        patch.setenv("SIGHTLOOP_SERVE_CANDIDATE_MEMORY_MAX_MIB", str(MEMORY_MIB))
        first = traffic.folder_of(traffic.digests[0])
        server = ServerProcess(traffic.workspace.root, log=folder / "log", releases=[first])
    with (
        server,
        Client(server.url, timeout_s=60) as client,
        CameraProcess(
            f"{server.url}/v1/detect", traffic.images, folder / "records", fps=FPS
        ) as camera,
    ):
        yield _Site(traffic, server, client, folder, iter(range(100)))
        records = camera.stop()
    images = [path.read_bytes() for path in images_of(traffic.images)]
    result = check_records(records, images, switches=[], folder_of=traffic.folder_of)
    assert (result.lost, result.mixed) == (0, 0), result.faults
    assert result.checked == result.answered > FPS


def _not_a_number(good: Path, bad: Path) -> None:
    model = onnx.load(good)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if made == name else made for made in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nothing"))
    model.graph.node.append(helper.make_node("Mul", ["inner", "nothing"], [name]))
    onnx.save(model, bad)


@pytest.mark.parametrize(
    ("spoil", "gate", "reason"),
    [
        (_not_a_number, "load", "output_not_finite"),
        (lambda g, b: bad_models.heavy(g, b, mebibytes=HEAVY_MIB), "load", "out_of_memory"),
        (lambda g, b: bad_models.eat_memory(g, b, mebibytes=GREEDY_MIB), "load", "out_of_memory"),
        (bad_models.hang, "load", "candidate_timed_out"),
        (lambda g, b: bad_models.hang(g, b, on_pictures=True), "load", "candidate_timed_out"),
    ],
    ids=["no numbers", "too large", "eats memory", "hangs warming", "hangs on its frames"],
)
def test_candidate_that_misbehaves_is_refused_and_gone(
    site: _Site, spoil: Spoil, gate: str, reason: str
) -> None:
    before = site.champion()
    outcome = site.offer(site.build(spoil))
    assert outcome["state"] == "FAILED"
    assert (outcome["refused"]["gate"], outcome["refused"]["reason"]) == (gate, reason)
    assert site.champion() == before
    assert site.client.status("plate")["candidate"] is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGSEGV, "candidate_died"),
        (signal.SIGKILL, "candidate_died"),
        (signal.SIGSTOP, "candidate_timed_out"),
    ],
)
def test_candidate_that_crashes_or_stands_still_is_refused_and_gone(
    site: _Site, number: signal.Signals, reason: str
) -> None:
    before = site.champion()
    path = site.build(lambda g, b: bad_models.hang(g, b, on_pictures=True))
    outcomes: list[dict[str, Any]] = []

    def offer() -> None:
        with Client(site.server.url, timeout_s=60) as client:
            outcomes.append(dict(client.update("plate", bundle=path)))

    thread = threading.Thread(target=offer)
    thread.start()
    pid = _pid_when(site, "GATING")
    os.kill(pid, number)
    thread.join(60)
    assert outcomes[0]["state"] == "FAILED"
    assert outcomes[0]["refused"]["reason"] == reason
    assert site.champion() == before
    _until_gone(pid)


def _pid_when(site: _Site, state: str) -> int:
    """The candidate's process, once it is in `state`."""
    deadline_s = CLOCK.monotonic_s() + LIMIT_S
    while CLOCK.monotonic_s() < deadline_s:
        candidate = site.client.status("plate")["candidate"]
        if candidate is not None and candidate["state"] == state:
            return int(candidate["pid"])
        CLOCK.sleep_s(0.01)
    raise AssertionError(f"expected a candidate that is {state}")


def _until_gone(pid: int) -> None:
    deadline_s = CLOCK.monotonic_s() + 20
    while Path(f"/proc/{pid}").exists():
        assert CLOCK.monotonic_s() < deadline_s, f"process {pid} is still there"
        CLOCK.sleep_s(0.02)


def test_good_candidate_is_ready_and_serves_without_the_bound(site: _Site) -> None:
    """The last one: it is proved under the bound that the others broke, and serves without it."""
    digest, _ = site.champion()
    outcome = site.offer(site.build(None))
    assert outcome["state"] == "ACTIVE", outcome["refused"]
    _, pid = site.champion()
    limits = Path(f"/proc/{pid}/limits").read_text()
    bound = next(line for line in limits.splitlines() if line.startswith("Max data size"))
    assert bound.split()[3] == "unlimited"
    back = site.client.rollback("plate")
    assert back["release"]["digest"] == digest
