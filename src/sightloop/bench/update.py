"""What updates cost live traffic: counts with the tiny detectors, latency with any model.

Two parts in one server each. *Counts*: many updates back and forth under 150 requests/s, every
answer computed again. *Latency*: 30 frames/s, paired windows before and around each update.
With a model file both releases are that model at two thresholds, so that answers differ.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.testing.camera import CameraProcess, FrameRecord, images_of
from sightloop.testing.checker import CheckResult, Switch, check_records
from sightloop.testing.driver import back_and_forth, first_answer_s, roll_back
from sightloop.testing.figures import update_figures
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic


@dataclass(frozen=True, slots=True)
class Load:
    """How hard to drive one part.

    Attributes:
        fps: Requests a second.
        updates: Updates back and forth.
        p99_ratio_max, worst_max_ms, first_max_s: Bounds printed beside the figures.
    """

    fps: float
    updates: int
    p99_ratio_max: float = 1.10
    worst_max_ms: float = 33.0
    first_max_s: float = 0.5


COUNTS = Load(fps=150, updates=120)
LATENCY = Load(fps=30, updates=20)


Say = Callable[[str], None]


def bench_update(
    load: Load,
    make: Callable[[Path], Traffic],
    pace: Callable[[Load, Traffic], Load],
    say: Say,
) -> dict[str, object]:
    """Measure one part; everything it writes goes when it ends.

    Args:
        load: How hard to drive.
        make: Gives releases and images in a folder.
        pace: Fits the load to what `make` gave.
        say: Progress, for people.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        traffic = make(Path(name))
        return _measure(pace(load, traffic), traffic, Path(name), say)


def _measure(load: Load, traffic: Traffic, folder: Path, say: Say) -> dict[str, object]:
    clock = SystemClock()
    first = traffic.folder_of(traffic.digests[0])

    def show(number: int, switch: Switch) -> None:
        say(f"update {number + 1} of {load.updates}: {switch.ack_s - switch.order_s:.2f} s")

    with (
        ServerProcess(
            traffic.workspace.root, log=folder / "server.log", releases=[first]
        ) as server,
        Client(server.url) as client,
        CameraProcess(
            f"{server.url}/v1/detect", traffic.images, folder / "records.jsonl", fps=load.fps
        ) as camera,
    ):
        order = (traffic.digests[1], traffic.digests[0])
        client.update(traffic.line, digest=order[0])
        client.update(traffic.line, digest=order[1])
        switches = back_and_forth(
            client, traffic.line, order, count=load.updates, clock=clock, on_update=show
        )
        cost = gate_cost(client.history(traffic.line)[-load.updates :])
        back = roll_back(client, traffic.line, clock=clock)
        clock.sleep_s(1.0)
        records = camera.stop()
    images = [path.read_bytes() for path in images_of(traffic.images)]
    checked = check_records(
        records, images, switches=[*switches, back], folder_of=traffic.folder_of
    )
    return _figures(load, records, switches, back, checked) | cost


def gate_cost(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the gates of some updates have run, from the slot's history; medians.

    Returns:
        `runs_candidate`, warm-up included; `runs_champion`; `run_cpu_ms`: what the gate's runs of
        the candidate take, which is most of the way from order to first answer.
    """
    loads, latencies = [], []
    for event in events:
        figures = {verdict["gate"]: verdict["measurements"] for verdict in event["verdicts"]}
        loads.append(figures["load"])
        latencies.append(figures["latency"])
    candidate = [
        load["warm_runs"] + latency["runs_candidate"]
        for load, latency in zip(loads, latencies, strict=True)
    ]
    return {
        "runs_candidate": statistics.median(candidate),
        "runs_champion": statistics.median(one["runs_champion"] for one in latencies),
        "run_cpu_ms": round(statistics.median(one["candidate_cpu_ms_p50"] for one in latencies), 2),
    }


def _figures(
    load: Load,
    records: list[FrameRecord],
    switches: list[Switch],
    back: Switch,
    checked: CheckResult,
) -> dict[str, object]:
    figures = update_figures(records, switches)
    rollback_ms = (back.ack_s - back.order_s) * 1000
    return {
        "bench": "update",
        "fps": load.fps,
        "updates": len(switches),
        "answers": checked.answered,
        "checked": checked.checked,
        "failed": checked.lost,
        "mixed": checked.mixed,
        "stale": checked.stale,
        "steady_p99_ms": round(figures.steady_p99_ms, 2),
        "update_p99_ms": round(figures.update_p99_ms, 2),
        "p99_ratio": round(figures.p99_ratio, 3),
        "worst_over_steady_max_ms": round(figures.worst_over_steady_max_ms, 2),
        "order_to_first_s": round(
            statistics.median(first_answer_s(records, one) for one in switches), 3
        ),
        "rollback_ms": round(rollback_ms, 2),
        "steady_p50_ms": round(figures.steady_p50_ms, 2),
        "update_p50_ms": round(figures.update_p50_ms, 2),
        "bounds": {
            "failed": 0,
            "mixed": 0,
            "stale": 0,
            "p99_ratio": load.p99_ratio_max,
            "worst_over_steady_max_ms": load.worst_max_ms,
            "order_to_first_s": load.first_max_s,
        },
        "faults": list(checked.faults[:5]),
    }
