"""Whether a request may wait: bounded in number, in bytes and in time.

A request that could only be answered after its deadline is refused at once, so that an overloaded
server spends its time on answers that still count. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightloop.errors import OverloadedError

_SMOOTHING = 0.1
_MARGIN = 1.5
"""A wait turns out longer than its estimate when the machine is busy: refuse sooner than later."""


@dataclass(slots=True)
class Pace:
    """How long the line takes from one answer to the next while requests wait; smoothed.

    Attributes:
        seconds: 0.0 before the first answer.
    """

    seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Take one more interval into account."""
        if self.seconds == 0.0:
            self.seconds = seconds
        else:
            self.seconds += _SMOOTHING * (seconds - self.seconds)


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a new request finds.

    Attributes:
        waiting: Requests without a worker.
        waiting_bytes: Their size.
        running: Requests in workers.
        pace_s: See `Pace`.
    """

    waiting: int
    waiting_bytes: int
    running: int
    pace_s: float


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What an operator allows."""

    pending_max: int
    pending_bytes_max: int


def admit(state: QueueState, limits: QueueLimits, *, size_bytes: int, left_s: float) -> None:
    """Let a request of `size_bytes` wait at most `left_s`.

    Raises:
        OverloadedError: It may not; the message says which bound it met.
    """
    ahead = state.waiting + state.running
    if ahead >= limits.pending_max:
        raise OverloadedError(
            f"expected fewer than {limits.pending_max} waiting requests, found {ahead}; send "
            "slower or raise serve.pending_max"
        )
    if ahead and state.waiting_bytes + size_bytes > limits.pending_bytes_max:
        raise OverloadedError(
            f"expected waiting requests of at most {limits.pending_bytes_max} bytes, found "
            f"{state.waiting_bytes + size_bytes}; send slower or raise serve.pending_bytes_max"
        )
    wait_s = _MARGIN * (ahead + 1) * state.pace_s
    if ahead and wait_s > left_s:
        raise OverloadedError(
            f"expected an answer within {left_s:.3f} s, found {ahead} requests ahead, that is "
            f"about {wait_s:.3f} s; send slower or allow more time"
        )
