"""The small engine: steps one after the other, in this process.

For one machine, tests and debugging. A step that needs a process of its own starts it itself.
Stopped at any point, the next run finds the steps that were finished and goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sightloop._support.clock import Clock
from sightloop.pipeline.cache import Entry
from sightloop.pipeline.display import Display
from sightloop.pipeline.run_record import RunRecord
from sightloop.pipeline.step import Step
from sightloop.pipeline.step_runner import StepRunner

BeforeWork = Callable[[str], None]


def nothing_before(step: str) -> None:
    """For runs that have nothing to say before a step does its work."""


def run_inline(
    steps: Sequence[Step],
    runner: StepRunner,
    *,
    record: RunRecord,
    display: Display,
    clock: Clock,
    before_work: BeforeWork = nothing_before,
) -> dict[str, Entry]:
    """Run `steps` in their order.

    Args:
        steps: A graph that `check_graph` has passed.
        runner: Decides and runs one step.
        record: Is told of each step before it starts and after it ended.
        display: Likewise, for people.
        clock: Measures the steps.
        before_work: Called with the name of a step that no cache answers; may raise to end the run.

    Returns:
        What each step made, by its name.

    Raises:
        SightloopError: A step failed; the steps after it were not started.
    """
    made: dict[str, Entry] = {}
    display.begin([step.name for step in steps])
    try:
        for step in steps:
            made[step.name] = _run_one(step, made, runner, record, display, clock, before_work)
    finally:
        display.close()
    return made


def _run_one(
    step: Step,
    made: dict[str, Entry],
    runner: StepRunner,
    record: RunRecord,
    display: Display,
    clock: Clock,
    before_work: BeforeWork,
) -> Entry:
    started_s = clock.monotonic_s()
    display.working(step.name, 0.0, "reading")
    try:
        record.started(step.name)
        decision = runner.decide(step, made)
        record.decided(step.name, decision.key)
        entry = decision.entry
        if entry is None:
            before_work(step.name)
            report = partial(display.working, step.name)
            entry = runner.run(step, decision.key, made, report)
    except BaseException as error:
        seconds = clock.monotonic_s() - started_s
        how = record.stopped(step.name, error, seconds)
        display.ended(step.name, how, seconds)
        raise
    seconds = clock.monotonic_s() - started_s
    record.ended(step.name, "cached" if decision.entry else "ran", seconds)
    display.ended(step.name, "cached" if decision.entry else "ran", seconds)
    return entry
