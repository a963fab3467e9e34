"""Who runs at which nice level: the worker that serves at normal priority, its loader at 19."""

import contextlib
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import tiny_traffic

CLOCK = SystemClock()


def nice_levels(pid: int) -> list[int]:
    levels = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            levels.append(int((task / "stat").read_text().rpartition(")")[2].split()[16]))
    return levels


@pytest.mark.parametrize("threads", [1, 2])
def test_all_threads_of_a_worker_that_serves_have_normal_priority(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLOOP_SERVE_THREADS", str(threads))
    traffic = tiny_traffic(tmp_path, images=1)
    first = traffic.folder_of(traffic.digests[0])
    with (
        ServerProcess(
            traffic.workspace.root, log=tmp_path / "server.log", releases=[first]
        ) as server,
        Client(server.url) as client,
    ):
        outcome = client.update("plate", digest=traffic.digests[1])
        assert outcome["state"] == "ACTIVE", outcome["refused"]
        client.detect((traffic.images / "000.jpg").read_bytes())
        (worker,) = client.status("plate")["champion"]["workers"]
        wanted = [nice_levels(server.pid)[0]] * threads
        # The loader thread ends by itself soon after its last word; a pool at its level stays.
        deadline_s = CLOCK.monotonic_s() + 20
        while nice_levels(worker["pid"]) != wanted:
            assert CLOCK.monotonic_s() < deadline_s, nice_levels(worker["pid"])
            CLOCK.sleep_s(0.01)
