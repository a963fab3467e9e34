from __future__ import annotations

import importlib.util

import pytest

from sightloop.bench.evaluate import CPU_MAX_S, DIFFERENCE_MAX, IMAGES, bench_evaluate


def test_thousand_images_cost_half_a_second_and_the_figures_are_pycocotools() -> None:
    figures = bench_evaluate(lambda _: None)
    assert figures["images"] == IMAGES == 1000
    cpu_s, difference = figures["cpu_s"], figures["difference"]
    assert isinstance(cpu_s, float)
    assert isinstance(difference, float)
    assert 0 < cpu_s <= CPU_MAX_S
    assert difference <= DIFFERENCE_MAX


def test_without_the_oracle_only_the_cost_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    figures = bench_evaluate(lambda _: None, images=20)
    assert figures["difference"] is None
