"""Whether updates give their memory back: the server's processes before, at the worst, and after.

Before and after are the same state: champion and previous loaded, a standby waiting. Anonymous
memory counts, shared pages by halves, so that what a fork shares is not counted twice.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.errors import ServingError
from sightloop.testing.process_tree import anonymous_mib
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic

UPDATES: Final = 100
GROWN_MAX_MIB: Final = 5.0
_SETTLE_S: Final = 20.0
_SAMPLE_S: Final = 0.05
_LOOKS: Final = 5
_CLOCK: Final = SystemClock()

Say = Callable[[str], None]


def bench_memory(make: Callable[[Path], Traffic], updates: int, say: Say) -> dict[str, object]:
    """Measure.

    Args:
        make: Gives two releases and images in a folder.
        updates: How many, back and forth.
        say: Progress, for people.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        traffic = make(Path(name))
        first = traffic.folder_of(traffic.digests[0])
        log = Path(name) / "server.log"
        with (
            ServerProcess(traffic.workspace.root, log=log, releases=[first]) as server,
            Client(server.url) as client,
        ):
            image = next(iter(sorted(traffic.images.iterdir()))).read_bytes()
            for digest in (traffic.digests[1], traffic.digests[0]):
                _update(client, traffic.line, digest, image)
            before = _settled(client, traffic.line, server.pid)
            with _Peak(server.pid) as peak:
                for number in range(updates):
                    _update(client, traffic.line, traffic.digests[(number + 1) % 2], image)
                    say(f"update {number + 1} of {updates}")
            after = _settled(client, traffic.line, server.pid)
    return {
        "bench": "memory",
        "updates": updates,
        "before_mib": round(before, 1),
        "peak_mib": round(peak.mib, 1),
        "after_mib": round(after, 1),
        "grown_mib": round(after - before, 1),
        "bounds": {"grown_mib": GROWN_MAX_MIB},
    }


def _update(client: Client, line: str, digest: str, image: bytes) -> None:
    outcome = client.update(line, digest=digest)
    if outcome["state"] != "ACTIVE":
        raise ServingError(f"bench memory: an update was refused: {outcome['refused']}")
    client.detect(image)


def _settled(client: Client, line: str, pid: int) -> float:
    """Memory once the last replaced worker has ended and the standby waits."""
    deadline_s = _CLOCK.monotonic_s() + _SETTLE_S
    looks: list[float] = []
    while len(looks) < _LOOKS and _CLOCK.monotonic_s() < deadline_s:
        _CLOCK.sleep_s(0.5)
        status = client.status(line)
        if status["standby"] is None or status["candidate"] is not None:
            looks.clear()
            continue
        looks.append(anonymous_mib(pid))
    return statistics.median(looks)


class _Peak:
    """The most that a process tree held while the block ran, as far as samples show."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak")

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.mib = max(self.mib, anonymous_mib(self._pid))

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
