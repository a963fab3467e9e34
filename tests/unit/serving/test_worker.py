"""What a worker decides before it takes an order."""

from __future__ import annotations

import pytest

from sightloop.runtime.compute import Cost
from sightloop.serving.worker import gate_threads


@pytest.mark.parametrize(
    ("cost", "cores", "threads"),
    [(Cost.THREAD, 1, 1), (Cost.THREAD, 2, 2), (Cost.THREAD, 16, 2)],
)
def test_gates_take_a_second_thread_where_there_is_a_second_core(
    cost: Cost, cores: int, threads: int
) -> None:
    assert gate_threads(cost, cores=cores) == threads


@pytest.mark.parametrize("cost", [Cost.PROCESS, Cost.WALL])
def test_times_that_a_second_thread_would_change_are_taken_by_one(cost: Cost) -> None:
    assert gate_threads(cost, cores=16) == 1
