"""Promise: who costs much more than the champion does not serve, and nobody else is blamed."""

from __future__ import annotations

from typing import Any

from sightloop.gates.chain import load_warm
from sightloop.gates.latency import time_in_turn
from sightloop.release.bundle import verify_bundle
from sightloop.testing.bad_models import slow_down
from sightloop.testing.tiny_detectors import render_plate

TRIES = 5


def test_network_at_least_twice_as_slow_is_refused_every_time(node: Any) -> None:
    candidate = node.with_model(lambda good, bad: slow_down(good, bad, layers=3))
    for _ in range(TRIES):
        verdict = node.refusal(candidate)
        assert (verdict.gate, verdict.reason) == ("latency", "too_slow")
        assert verdict.measurements["cpu_ratio"] > 1.5


def test_slow_network_is_the_attack_it_claims_to_be(node: Any) -> None:
    """About 2 x or more, with the same answers: only the latency gate can see it."""
    candidate = node.with_model(lambda good, bad: slow_down(good, bad, layers=3))
    verdicts = node.offer(candidate).verdicts
    assert [verdict.outcome.value for verdict in verdicts] == ["PASS", "PASS", "PASS", "FAIL"]


def test_same_network_is_never_called_slow(node: Any, bundle: Any) -> None:
    for _ in range(TRIES):
        assert node.offer(bundle).loaded is not None


def test_timing_one_network_against_itself_gives_one(node: Any) -> None:
    champion = verify_bundle(node.champion, node.trust)
    _, first = load_warm(champion)
    _, second = load_warm(champion)
    assert first is not None
    assert second is not None
    frames = [render_plate(seed)[0] for seed in range(20)]
    left, right = time_in_turn([first, second], frames)
    ratios = sorted(left.cpu_ms / right.cpu_ms)
    assert 0.8 < ratios[len(ratios) // 2] < 1.25
