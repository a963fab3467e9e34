"""What a status says of the machine, held against what the kernel says of the same processes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.runtime.gpu import find_gpu
from sightloop.testing.process_tree import tree_of
from sightloop.testing.server_process import CLI, ServerProcess
from sightloop.testing.tiny_traffic import tiny_traffic

CLOCK = SystemClock()
MIB = 1 << 20
SLACK = 0.2
"""Memory moves between two looks at it."""


def memory_of(pid: int) -> tuple[int, int]:
    """Memory that is the process's alone, and all of it that is in RAM, shared pages whole."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split()[0]: int(line.split()[1]) for line in lines}
    return (kib["Private_Clean:"] + kib["Private_Dirty:"]) << 10, kib["Rss:"] << 10


def settled_status(client: Client) -> dict[str, Any]:
    """A status with a champion, a previous and a standby, and nothing on its way out."""
    deadline_s = CLOCK.monotonic_s() + 20
    roles = {"champion", "previous", "standby", "front", "zygote"}
    while set((status := client.status("plate"))["memory_bytes"]) != roles:
        assert CLOCK.monotonic_s() < deadline_s, status
        CLOCK.sleep_s(0.05)
    return status


def test_status_says_the_memory_of_front_and_workers_and_which_gpus_there_are(
    tmp_path: Path,
) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    first = traffic.folder_of(traffic.digests[0])
    with (
        ServerProcess(traffic.workspace.root, log=tmp_path / "log", releases=[first]) as server,
        Client(server.url) as client,
    ):
        assert client.update("plate", digest=traffic.digests[1])["state"] == "ACTIVE"
        status = settled_status(client)
        pids = {
            "front": server.pid,
            "champion": status["champion"]["workers"][0]["pid"],
            "previous": status["previous"]["workers"][0]["pid"],
            "standby": status["standby"]["pid"],
        }
        (pids["zygote"],) = set(tree_of(server.pid)) - set(pids.values())
        for role, pid in pids.items():
            alone, whole = memory_of(pid)
            said = status["memory_bytes"][role]
            assert alone * (1 - SLACK) <= said <= whole * (1 + SLACK), (role, alone, said, whole)
            assert said > MIB, role
        shown = subprocess.run(
            [*CLI, "rollout", "status", "plate", "--url", server.url, "--json"],
            capture_output=True,
            check=True,
        )
        told = json.loads(shown.stdout)
        assert told["memory_bytes"].keys() == status["memory_bytes"].keys()
        check_gpus(status["gpus"])
        assert [gpu["gpu"] for gpu in told["gpus"]] == [gpu["gpu"] for gpu in status["gpus"]]


def check_gpus(gpus: list[dict[str, Any]]) -> None:
    """None where there is none; else each with figures that can be."""
    if find_gpu(0) is None:
        assert gpus == [], "no driver, no GPU: an empty list, no zeros"
        return
    pytest.importorskip("pynvml", reason="a GPU is read with nvidia-ml-py")
    assert [gpu["gpu"] for gpu in gpus] == list(range(len(gpus)))
    for gpu in gpus:
        assert 0 <= gpu["memory_used_bytes"] <= gpu["memory_total_bytes"]
        assert gpu["memory_total_bytes"] > 1 << 30
        assert 0 <= gpu["busy_fraction"] <= 1
