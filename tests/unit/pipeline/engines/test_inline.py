"""Rules of the inline engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.config.workspace import open_workspace
from sightloop.errors import StepFailedError
from sightloop.pipeline.display import How
from sightloop.pipeline.engines.inline import run_inline
from sightloop.pipeline.run_record import RunRecord
from sightloop.pipeline.step import Step
from sightloop.pipeline.step_runner import StepRunner
from sightloop.testing.toy_steps import toy_chain, toy_step


class _Seen:
    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, steps: Sequence[str]) -> None:
        self.events.append(f"begin {' '.join(steps)}")

    def working(self, step: str, fraction: float, text: str) -> None:
        assert 0.0 <= fraction <= 1.0
        if f"{step} works" not in self.events:
            self.events.append(f"{step} works")

    def ended(self, step: str, how: How, seconds: float) -> None:
        self.events.append(f"{step} {how}")

    def close(self) -> None:
        self.events.append("close")


def _run(root: Path, steps: Sequence[Step]) -> _Seen:
    workspace, seen, clock = open_workspace(root), _Seen(), SystemClock()
    names = [step.name for step in steps]
    record = RunRecord(root / "runs" / "r", line="x", config={}, steps=names, clock=clock)
    try:
        run_inline(steps, StepRunner(workspace, "r"), record=record, display=seen, clock=clock)
    except StepFailedError:
        seen.events.append("raised")
    return seen


def test_steps_run_one_after_the_other_and_each_is_shown(tmp_path: Path) -> None:
    assert _run(tmp_path, toy_chain("1", "2")).events == [
        "begin a b", "a works", "a ran", "b works", "b ran", "close",
    ]  # fmt: skip
    assert _run(tmp_path, toy_chain("1", "2")).events == [
        "begin a b", "a works", "a cached", "b works", "b cached", "close",
    ]  # fmt: skip


def test_nothing_starts_after_a_failure_and_the_display_is_closed(tmp_path: Path) -> None:
    steps = [toy_step("a", fail="other"), toy_step("b")]
    assert _run(tmp_path, steps).events == ["begin a b", "a works", "a failed", "close", "raised"]


def test_display_is_closed_after_an_interruption(tmp_path: Path) -> None:
    seen = _Seen()
    workspace, clock = open_workspace(tmp_path), SystemClock()
    record = RunRecord(tmp_path / "runs/r", line="x", config={}, steps=["a"], clock=clock)
    steps = [toy_step("a", fail="interrupt")]
    runner = StepRunner(workspace, "r")
    with pytest.raises(KeyboardInterrupt):
        run_inline(steps, runner, record=record, display=seen, clock=clock)
    assert seen.events[-2:] == ["a interrupted", "close"]
