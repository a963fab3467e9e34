"""How much of the machine's detection capacity a server hands out, beside the bare loop.

Both run in turns on the same cores, round by round; the figure is the median of the rounds' ratios.
On a machine with other work the ratio of the CPU times a frame says more: it stands beside it.
With one worker, front and worker share one core with nobody, and the load comes from another core
where there is one. With as many workers as cores, the load shares them too: its cost is ours.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop.testing.meter import Meter, pinned_to
from sightloop.testing.process_tree import cpu_s
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic

RATIO_MIN_ONE: Final = 0.97
RATIO_MIN_ALL: Final = 0.95
ROUNDS: Final = 7
TURN_S: Final = 3.0
_CONNECTIONS_A_WORKER: Final = 3

Say = Callable[[str], None]


def bench_capacity(
    make: Callable[[Path], Traffic],
    all_cores: bool,
    say: Say,
    *,
    rounds: int = ROUNDS,
    turn_s: float = TURN_S,
) -> dict[str, object]:
    """Measure one worker on one core, or as many workers as cores.

    Args:
        make: Gives releases and images in a folder.
        all_cores: Whether every core gets a worker.
        say: Progress, for people.
        rounds: How many turns each gets.
        turn_s: How long a turn is.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name, ExitStack() as stack:
        traffic = make(Path(name))
        cores = sorted(os.sched_getaffinity(0))
        serving = cores if all_cores else cores[:1]
        loading = cores if all_cores else cores[-1:]
        log = Path(name) / "server.log"
        bundle = traffic.folder_of(traffic.digests[0])
        with pinned_to(serving):
            server = stack.enter_context(
                ServerProcess(
                    traffic.workspace.root,
                    log=log,
                    releases=[bundle],
                    environment={"SIGHTLOOP_SERVE_WORKERS": str(len(serving))},
                )
            )
        load = stack.enter_context(_load(server, traffic, loading, len(serving)))
        bares = [stack.enter_context(_bare(traffic, bundle, [core])) for core in serving]
        measured = _rounds(load, bares, lambda: cpu_s(server.pid), say, (rounds, turn_s))
    served, bare = [one.served_rps for one in measured], [one.bare_rps for one in measured]
    ratios = [one.served_rps / one.bare_rps for one in measured]
    return {
        "bench": "capacity",
        "workers": len(serving),
        "cores": len(serving),
        "load_shares_the_cores": bool(set(serving) & set(loading)),
        "served_rps": round(statistics.median(served), 1),
        "bare_rps": round(statistics.median(bare), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_rounds": [round(ratio, 3) for ratio in sorted(ratios)],
        "served_cpu_ms": round(statistics.median(one.served_cpu_ms for one in measured), 3),
        "bare_cpu_ms": round(statistics.median(one.bare_cpu_ms for one in measured), 3),
        "cpu_ratio": round(
            statistics.median(one.bare_cpu_ms / one.served_cpu_ms for one in measured), 3
        ),
        "bounds": {"ratio": RATIO_MIN_ALL if all_cores else RATIO_MIN_ONE},
    }


def _load(server: ServerProcess, traffic: Traffic, cores: Iterable[int], workers: int) -> Meter:
    return Meter(
        [
            "sightloop.testing.closed_loop",
            f"{server.url}/v1/detect",
            str(traffic.images),
            "--connections",
            str(_CONNECTIONS_A_WORKER * workers),
        ],
        cores=cores,
    )


def _bare(traffic: Traffic, bundle: Path, cores: Iterable[int]) -> Meter:
    return Meter(["sightloop.bench.bare_loop", str(bundle), str(traffic.images)], cores=cores)


@dataclass(frozen=True, slots=True)
class _Round:
    served_rps: float
    served_cpu_ms: float
    bare_rps: float
    bare_cpu_ms: float


def _rounds(
    load: Meter,
    bares: list[Meter],
    server_cpu_s: Callable[[], float],
    say: Say,
    turns: tuple[int, float],
) -> list[_Round]:
    load.turn(1.0)
    count, turn_s = turns
    rounds: list[_Round] = []
    for number in range(count):
        before_s = server_cpu_s()
        served = load.turn(turn_s)
        used_s = server_cpu_s() - before_s
        for meter in bares:
            meter.begin(turn_s)
        bare = [meter.result() for meter in bares]
        one = _Round(
            served_rps=served["answers"] / served["seconds"],
            served_cpu_ms=1000 * used_s / served["answers"],
            bare_rps=sum(part["answers"] / part["seconds"] for part in bare),
            bare_cpu_ms=1000
            * sum(part["cpu_s"] for part in bare)
            / sum(part["answers"] for part in bare),
        )
        rounds.append(one)
        say(
            f"round {number + 1} of {count}: served {one.served_rps:.1f}/s, "
            f"bare {one.bare_rps:.1f}/s"
        )
    return rounds
