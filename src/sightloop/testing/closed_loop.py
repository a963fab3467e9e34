"""Closed loop: some connections, each sends its next frame when it has its answer. A `Meter`.

`python -m sightloop.testing.closed_loop URL FOLDER --connections 4`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from sightloop._support.clock import SystemClock
from sightloop.testing.camera import images_of
from sightloop.testing.http_connection import HttpConnection
from sightloop.testing.meter import serve_turns

_CLOCK = SystemClock()


@dataclass(slots=True)
class _Driven:
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)


async def _drive(connection: HttpConnection, images: list[bytes], end_s: float) -> _Driven:
    driven = _Driven()
    for image in cycle(images):
        began_s = _CLOCK.monotonic_s()
        if began_s >= end_s:
            break
        status, _ = await connection.post(image)
        driven.statuses[status] += 1
        driven.latencies_ms.append((_CLOCK.monotonic_s() - began_s) * 1000)
    return driven


async def _turn(connections: list[HttpConnection], images: list[bytes], seconds: float) -> Any:
    began_s = _CLOCK.monotonic_s()
    shifted = [images[i % len(images) :] + images[: i % len(images)] for i in range(99)]
    parts = await asyncio.gather(
        *(
            _drive(connection, shifted[number % 99], began_s + seconds)
            for number, connection in enumerate(connections)
        )
    )
    took_s = _CLOCK.monotonic_s() - began_s
    statuses = sum((part.statuses for part in parts), Counter())
    return {
        "answers": statuses[200],
        "seconds": took_s,
        "p50_ms": statistics.median(ms for part in parts for ms in part.latencies_ms),
        "others": {str(k): v for k, v in statuses.items() if k != 200},
    }


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m sightloop.testing.closed_loop")
    parser.add_argument("url", help="http://HOST:PORT/v1/detect")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=4)
    arguments = parser.parse_args()
    images = [path.read_bytes() for path in images_of(arguments.folder)]
    parts = urlsplit(arguments.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        connections = [
            HttpConnection(parts.hostname or "127.0.0.1", parts.port or 80, path)
            for _ in range(arguments.connections)
        ]
        gc.freeze()
        serve_turns(lambda seconds: dict(runner.run(_turn(connections, images, seconds))))
        for connection in connections:
            connection.close()


if __name__ == "__main__":
    main()
