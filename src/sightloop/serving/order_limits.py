"""How long an order may take: the candidate's own time, and beside it the compiler's.

Compiling an engine takes minutes once for each device and driver; it happens while the champion
serves, in the state BUILDING, under a limit of its own. The candidate's time stands still
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sightloop.config.serving import ServingConfig
from sightloop.serving.lifecycle import ReleaseState
from sightloop.serving.order import Order, OrderResult
from sightloop.serving.workers import Worker

OnState = Callable[[ReleaseState | None, ReleaseState], None]


async def carry_out_in_time(
    worker: Worker, order: Order, config: ServingConfig, *, on_state: OnState | None = None
) -> OrderResult:
    """Give a standby its order and wait for how it ends.

    Args:
        worker: A standby.
        order: What it shall become.
        config: Has the limits.
        on_state: Told the old and the new state.

    Raises:
        TimeoutError: It was not READY after `candidate_timeout_s`, or not built after
            `build_timeout_s`; the worker still has the order.
        WorkerDiedError: The process ended first.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(config.candidate_timeout_s) as limit:
        left_s = config.candidate_timeout_s

        def entered(old: ReleaseState | None, new: ReleaseState) -> None:
            nonlocal left_s
            if on_state is not None:
                on_state(old, new)
            if new is ReleaseState.BUILDING:
                left_s = (limit.when() or 0.0) - loop.time()
                limit.reschedule(loop.time() + config.build_timeout_s)
            elif old is ReleaseState.BUILDING and not limit.expired():
                limit.reschedule(loop.time() + left_s)

        worker.on_state = entered
        try:
            return await worker.carry_out(order)
        finally:
            worker.on_state = None


def limit_of(state: ReleaseState | None, config: ServingConfig) -> float:
    """Which limit, in seconds, an order in this state is under."""
    building = state is ReleaseState.BUILDING
    return config.build_timeout_s if building else config.candidate_timeout_s
