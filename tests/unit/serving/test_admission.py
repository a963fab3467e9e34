import pytest

from sightloop.errors import OverloadedError
from sightloop.serving.admission import Pace, QueueLimits, QueueState, admit

LIMITS = QueueLimits(pending_max=10, pending_bytes_max=1000)


def state(
    *, waiting: int = 0, waiting_bytes: int = 0, running: int = 0, pace_s: float = 0.0
) -> QueueState:
    return QueueState(waiting, waiting_bytes, running, pace_s)


def test_request_beyond_the_number_is_refused() -> None:
    admit(state(waiting=8, running=1), LIMITS, size_bytes=1, left_s=1.0)
    with pytest.raises(OverloadedError, match="fewer than 10 waiting requests, found 10"):
        admit(state(waiting=8, running=2), LIMITS, size_bytes=1, left_s=1.0)


def test_request_beyond_the_bytes_is_refused_and_a_large_one_alone_is_not() -> None:
    admit(state(), LIMITS, size_bytes=5000, left_s=1.0)
    admit(state(waiting=1, waiting_bytes=900), LIMITS, size_bytes=100, left_s=1.0)
    with pytest.raises(OverloadedError, match="at most 1000 bytes, found 1001"):
        admit(state(waiting=1, waiting_bytes=900), LIMITS, size_bytes=101, left_s=1.0)


def test_request_that_would_be_answered_too_late_is_refused_at_once() -> None:
    busy = state(waiting=4, running=1, pace_s=0.1)
    admit(busy, LIMITS, size_bytes=1, left_s=0.91)
    with pytest.raises(OverloadedError, match=r"within 0\.590 s, found 5 requests ahead"):
        admit(busy, LIMITS, size_bytes=1, left_s=0.59)


def test_idle_line_takes_every_request_however_slow_it_was() -> None:
    """Else a pace measured in a bad moment would keep the line shut for good."""
    admit(state(pace_s=100.0), LIMITS, size_bytes=1, left_s=0.001)


def test_pace_follows_what_is_observed() -> None:
    pace = Pace()
    pace.observe(0.02)
    assert pace.seconds == 0.02
    for _ in range(60):
        pace.observe(0.04)
    assert pace.seconds == pytest.approx(0.04, rel=0.01)
