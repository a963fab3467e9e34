"""What a server does at five times its capacity: answers in time, refusals at once, and after it.

Two cameras: one sends at a third of the capacity all the time, the other adds the overload in the
middle. A request says how long it may take; an answer after that is *late*, a 429 is *refused*,
a 504 *expired* (it reached a worker and was not answered in time), anything else *failed*.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop._support.clock import SystemClock
from sightloop.testing.camera import CameraProcess, FrameRecord, within
from sightloop.testing.figures import percentile
from sightloop.testing.meter import Meter, pinned_to
from sightloop.testing.process_tree import anonymous_mib
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic

FACTOR: Final = 5.0
SECONDS: Final = 60.0
DEADLINE_MS: Final = 500.0
RECOVERY_MAX_S: Final = 1.0
MEMORY_MAX_MIB: Final = 16.0
_STEADY_S: Final = 5.0
_STEADY_FRACTION: Final = 0.33
_SLOW: Final = 2.0
_CLOCK: Final = SystemClock()

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OverloadCounts:
    """How the frames of the overload ended."""

    sent: int
    served: int
    served_late: int
    refused: int
    expired: int
    failed: int


def count_overload(records: Sequence[FrameRecord], *, deadline_ms: float) -> OverloadCounts:
    """Count by outcome; an answer counts from when its frame was handed to the socket."""
    served = [record for record in records if record.answered]
    late = [
        record
        for record in served
        if record.answered_s is not None
        and (record.answered_s - record.sent_s) * 1000 > deadline_ms
    ]
    refused = sum(record.status == 429 for record in records)
    expired = sum(record.status == 504 for record in records)
    return OverloadCounts(
        sent=len(records),
        served=len(served),
        served_late=len(late),
        refused=refused,
        expired=expired,
        failed=len(records) - len(served) - refused - expired,
    )


def recovery_s(records: Sequence[FrameRecord], *, ended_s: float, slow_ms: float) -> float:
    """From the end of the overload to the last frame that was not answered within `slow_ms`."""
    bad = [
        record.scheduled_s
        for record in records
        if record.scheduled_s >= ended_s
        and not (record.answered and (record.latency_ms or 0.0) <= slow_ms)
    ]
    return max(bad, default=ended_s) - ended_s


def bench_overload(make: Callable[[Path], Traffic], seconds: float, say: Say) -> dict[str, object]:
    """Measure.

    Args:
        make: Gives releases and images in a folder.
        seconds: How long the overload lasts.
        say: Progress, for people.
    """
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        traffic = make(folder)
        with pinned_to(cores[:1]):
            server = stack.enter_context(
                ServerProcess(
                    traffic.workspace.root,
                    log=folder / "server.log",
                    releases=[traffic.folder_of(traffic.digests[0])],
                )
            )
        stack.enter_context(pinned_to(cores[-1:]))
        url = f"{server.url}/v1/detect"
        with Meter(["sightloop.testing.closed_loop", url, str(traffic.images)]) as load:
            load.turn(1.0)
            said = load.turn(_STEADY_S)
        capacity = said["answers"] / said["seconds"]
        say(f"capacity {capacity:.0f}/s; {FACTOR:g} times that for {seconds:g} s")
        timed = f"{url}?timeout_ms={DEADLINE_MS:g}"
        before = anonymous_mib(server.pid)
        steady = stack.enter_context(
            CameraProcess(
                timed, traffic.images, folder / "steady.jsonl", fps=capacity * _STEADY_FRACTION
            )
        )
        _CLOCK.sleep_s(_STEADY_S)
        began_s = _CLOCK.monotonic_s()
        with CameraProcess(
            timed, traffic.images, folder / "over.jsonl", fps=capacity * FACTOR
        ) as over:
            _CLOCK.sleep_s(seconds)
            ended_s = _CLOCK.monotonic_s()
            records = over.stop()
        after = anonymous_mib(server.pid)
        _CLOCK.sleep_s(_STEADY_S)
        calm = steady.stop()
    return _figures(records, calm, (began_s, ended_s), capacity, after - before)


def _figures(
    records: list[FrameRecord],
    calm: list[FrameRecord],
    over: tuple[float, float],
    capacity: float,
    memory_mib: float,
) -> dict[str, object]:
    counts = count_overload(records, deadline_ms=DEADLINE_MS)
    steady_ms = [
        record.latency_ms
        for record in within(calm, 0.0, over[0])
        if record.answered and record.latency_ms is not None
    ]
    slow_ms = _SLOW * percentile(steady_ms, 0.99)
    refusals_ms = [
        (record.answered_s - record.sent_s) * 1000
        for record in records
        if record.status == 429 and record.answered_s is not None
    ]
    seconds = over[1] - over[0]
    return {
        "bench": "overload",
        "seconds": round(seconds, 1),
        "capacity_rps": round(capacity, 1),
        "sent_rps": round(counts.sent / seconds, 1),
        "served_rps": round(counts.served / seconds, 1),
        "served_late": counts.served_late,
        "refused": counts.refused,
        "expired": counts.expired,
        "failed": counts.failed,
        "refusal_p50_ms": round(statistics.median(refusals_ms), 2) if refusals_ms else None,
        "refusal_p99_ms": round(percentile(refusals_ms, 0.99), 2) if refusals_ms else None,
        "memory_delta_mib": round(memory_mib, 1),
        "steady_p99_ms": round(percentile(steady_ms, 0.99), 2),
        "recovery_s": round(recovery_s(calm, ended_s=over[1], slow_ms=slow_ms), 3),
        "bounds": {
            "served_late": 0,
            "failed": 0,
            "memory_delta_mib": MEMORY_MAX_MIB,
            "recovery_s": RECOVERY_MAX_S,
        },
    }
