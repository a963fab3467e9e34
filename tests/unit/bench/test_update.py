"""What the gates ran, read from a slot's history."""

from __future__ import annotations

from typing import Any

from sightloop.bench.update import gate_cost


def _event(candidate: int, champion: int) -> dict[str, Any]:
    times = {"runs_candidate": candidate, "runs_champion": champion, "candidate_cpu_ms_p50": 12.5}
    return {
        "verdicts": [
            {"gate": "load", "measurements": {"warm_runs": 1}},
            {"gate": "latency", "measurements": times},
        ]
    }


def test_runs_of_the_gates_are_counted_with_the_warm_up() -> None:
    cost = gate_cost([_event(20, 7), _event(20, 7), _event(40, 21)])
    assert cost == {"runs_candidate": 21, "runs_champion": 7, "run_cpu_ms": 12.5}
