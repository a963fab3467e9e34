"""A long look: frames at a camera's pace while releases are updated, rolled back and killed.

What happens next is drawn from a seed. Every answer is computed again with the release that it
names; every acknowledged switch bounds which release may answer afterwards, but while a killed
champion is loaded again: then the previous answers, under its own name (*degraded*).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.errors import ClientError
from sightloop.testing.camera import CameraProcess, FrameRecord, images_of
from sightloop.testing.checker import Switch, check_records
from sightloop.testing.figures import percentile
from sightloop.testing.process_tree import anonymous_mib
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

SECONDS: Final = 600.0
_FPS: Final = 30.0
_SEED: Final = 4
_PAUSE_S: Final = 0.5
_RECOVERED_S: Final = 20.0
_CLOCK: Final = SystemClock()
_ACTS: Final = {
    "update": 10,
    "rollback": 4,
    "kill champion": 2,
    "kill previous": 2,
    "kill standby": 2,
    "kill candidate": 2,
}
"""What may come next, and how often."""

Say = Callable[[str], None]


def bench_soak(seconds: float, say: Say) -> dict[str, object]:
    """Measure.

    Args:
        seconds: How long.
        say: Progress, for people.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        folder = Path(name)
        traffic = tiny_traffic(folder)
        first = traffic.folder_of(traffic.digests[0])
        with (
            ServerProcess(
                traffic.workspace.root, log=folder / "server.log", releases=[first]
            ) as server,
            Client(server.url) as client,
            CameraProcess(
                f"{server.url}/v1/detect", traffic.images, folder / "records.jsonl", fps=_FPS
            ) as camera,
        ):
            player = _Player(traffic, client, server.url)
            player.update()
            player.update()
            before = anonymous_mib(server.pid)
            end_s = _CLOCK.monotonic_s() + seconds
            while _CLOCK.monotonic_s() < end_s:
                say(f"{end_s - _CLOCK.monotonic_s():.0f} s left: {player.play()}")
            player.whole()
            _CLOCK.sleep_s(2.0)
            after = anonymous_mib(server.pid)
            records = camera.stop()
        images = [path.read_bytes() for path in images_of(traffic.images)]
        whole, degraded = player.split(records)
        checked = check_records(
            whole, images, switches=player.switches, folder_of=traffic.folder_of
        )
        beside = check_records(degraded, images, switches=[], folder_of=traffic.folder_of)
    latencies = [record.latency_ms for record in records if record.latency_ms is not None]
    return {
        "bench": "soak",
        "seconds": seconds,
        "acts": dict(player.acts),
        "answers": checked.answered + beside.answered,
        "checked": checked.checked + beside.checked,
        "failed": checked.lost + beside.lost,
        "mixed": checked.mixed + beside.mixed,
        "stale": checked.stale,
        "degraded": beside.answered,
        "p50_ms": round(percentile(latencies, 0.5), 2),
        "p99_ms": round(percentile(latencies, 0.99), 2),
        "max_ms": round(max(latencies), 2),
        "memory_delta_mib": round(after - before, 1),
        "bounds": {"failed": 0, "mixed": 0, "stale": 0, "memory_delta_mib": 5.0},
        "faults": list((*checked.faults, *beside.faults)[:5]),
    }


class _Player:
    """Does to the server what its operators and its bad days do."""

    def __init__(self, traffic: Traffic, client: Client, url: str) -> None:
        self._url = url
        self.switches: list[Switch] = []
        self.acts: Counter[str] = Counter()
        self._degraded: list[tuple[float, float]] = []
        self._traffic = traffic
        self._client = client
        self._random = random.Random(_SEED)  # which act comes next, no secret

    def play(self) -> str:
        """One act, drawn by weight."""
        act = self._random.choices(list(_ACTS), list(_ACTS.values()))[0]
        if act == "update":
            self.update()
        elif act == "rollback":
            self.rollback()
        elif act == "kill candidate":
            self.kill_candidate()
        else:
            self.kill(act.removeprefix("kill "))
        self.acts[act] += 1
        _CLOCK.sleep_s(_PAUSE_S)
        return act

    def update(self) -> None:
        self._update(self._client, self._other())

    def _update(self, client: Client, digest: str) -> None:
        order_s = _CLOCK.monotonic_s()
        outcome = client.update(self._traffic.line, digest=digest)
        if outcome["state"] == "ACTIVE":
            self.switches.append(Switch(order_s, _CLOCK.monotonic_s(), digest))

    def rollback(self) -> None:
        self.whole()
        order_s = _CLOCK.monotonic_s()
        outcome = self._client.rollback(self._traffic.line)
        digest = str(outcome["release"]["digest"])
        self.switches.append(Switch(order_s, _CLOCK.monotonic_s(), digest))

    def kill(self, role: str) -> None:
        began_s = _CLOCK.monotonic_s()
        killed = set(_pids(self._status()[role]))
        for pid in killed:
            _kill(pid)
        self.whole(without=killed)
        self._degraded.append((began_s, _CLOCK.monotonic_s()))

    def split(self, records: list[FrameRecord]) -> tuple[list[FrameRecord], list[FrameRecord]]:
        """The frames sent while all was whole, and those sent while a killed worker came back."""
        degraded = [
            record
            for record in records
            if any(begin_s <= record.sent_s <= end_s for begin_s, end_s in self._degraded)
        ]
        chosen = {record.seq for record in degraded}
        return [record for record in records if record.seq not in chosen], degraded

    def kill_candidate(self) -> None:
        """Order an update and end its candidate somewhere on the way."""
        thread = threading.Thread(target=self._update_aside, args=(self._other(),), name="update")
        before = len(self.switches)
        thread.start()
        wait_s = self._random.uniform(0.0, 0.3)
        _CLOCK.sleep_s(wait_s)
        killed_s = _CLOCK.monotonic_s()
        killed = set(_pids(self._status()["candidate"]))
        for pid in killed:
            _kill(pid)
        thread.join()
        self.whole(without=killed)
        if len(self.switches) > before:  # it was the champion already when it was killed
            self._degraded.append((killed_s, _CLOCK.monotonic_s()))

    def _update_aside(self, digest: str) -> None:
        with Client(self._url) as client, contextlib.suppress(ClientError):
            self._update(client, digest)

    def whole(self, *, without: Collection[int] = ()) -> None:
        """Wait until champion and previous live, and none of `without` is among them any more."""
        deadline_s = _CLOCK.monotonic_s() + _RECOVERED_S
        while _CLOCK.monotonic_s() < deadline_s:
            status = self._status()
            held = [status[role] for role in ("champion", "previous")]
            pids = {pid for one in held for pid in _pids(one)}
            if all(one and _all_live(one) for one in held) and not pids & set(without):
                return
            _CLOCK.sleep_s(0.02)

    def _status(self) -> dict[str, Any]:
        return self._client.status(self._traffic.line)

    def _other(self) -> str:
        champion = self._status()["champion"]["release"]["digest"]
        one, two = self._traffic.digests
        return two if champion == one else one


def _pids(held: dict[str, Any] | None) -> Iterator[int]:
    if held is not None:
        yield from (worker["pid"] for worker in held.get("workers", [held]))


def _all_live(held: dict[str, Any]) -> bool:
    return all(worker["alive"] for worker in held["workers"])


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
