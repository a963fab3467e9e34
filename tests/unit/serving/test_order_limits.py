"""Compiling an engine has a limit of its own; the candidate's time stands still meanwhile."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

import pytest

from sightloop.config.serving import ServingConfig
from sightloop.serving.lifecycle import ReleaseState
from sightloop.serving.order import Order, OrderResult
from sightloop.serving.order_limits import carry_out_in_time, limit_of

ORDER = Order(line="plate", source="1.0.0", store="", trust_folder="")
CONFIG = ServingConfig(candidate_timeout_s=10.0, build_timeout_s=100.0)
DONE = OrderResult(release=None, verdicts=(), admitted=True)


class _LoopOfItsOwnTime(asyncio.SelectorEventLoop):
    """Waits for nothing: where nothing else is to be done, its time moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now_s


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: _LoopOfItsOwnTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout:
            self._loop.now_s += timeout
        return events


class _Paced:
    """A worker that takes the seconds of a script for each state."""

    def __init__(self, *script: tuple[str, float]) -> None:
        self._script = script
        self.state: ReleaseState | None = None
        self.on_state: Callable[[ReleaseState | None, ReleaseState], None] | None = None

    async def carry_out(self, order: Order) -> OrderResult:
        for name, seconds in self._script:
            old, self.state = self.state, ReleaseState(name)
            assert self.on_state is not None
            self.on_state(old, self.state)
            await asyncio.sleep(seconds)
        return DONE


def seconds_of(worker: _Paced) -> float:
    """How long the order took.

    Raises:
        TimeoutError: A limit was reached.
    """
    with asyncio.Runner(loop_factory=_LoopOfItsOwnTime) as runner:
        loop = runner.get_loop()
        result = runner.run(carry_out_in_time(worker, ORDER, CONFIG))  # type: ignore[arg-type]  # as much of a worker as is used
        assert result is DONE
        return loop.time()


def test_building_does_not_count_as_the_candidates_time() -> None:
    worker = _Paced(("VERIFYING", 4.0), ("BUILDING", 90.0), ("LOADING", 5.0))
    assert seconds_of(worker) == pytest.approx(99.0)


def test_candidate_gets_no_second_turn_after_building() -> None:
    worker = _Paced(("VERIFYING", 6.0), ("BUILDING", 90.0), ("LOADING", 5.0))
    with pytest.raises(TimeoutError):
        seconds_of(worker)
    assert worker.state is ReleaseState.LOADING


def test_building_has_its_own_limit() -> None:
    worker = _Paced(("VERIFYING", 1.0), ("BUILDING", 101.0))
    with pytest.raises(TimeoutError):
        seconds_of(worker)
    assert limit_of(worker.state, CONFIG) == 100.0


def test_candidate_that_builds_nothing_has_its_time_alone() -> None:
    assert seconds_of(_Paced(("VERIFYING", 4.0), ("LOADING", 5.0))) == pytest.approx(9.0)
    worker = _Paced(("VERIFYING", 4.0), ("LOADING", 7.0))
    with pytest.raises(TimeoutError):
        seconds_of(worker)
    assert limit_of(worker.state, CONFIG) == 10.0


def test_nobody_is_told_after_the_order() -> None:
    worker = _Paced(("VERIFYING", 1.0))
    seconds_of(worker)
    assert worker.on_state is None
