import pytest

from sightloop.bench.overload import count_overload, recovery_s
from sightloop.testing.camera import FrameRecord


def record(
    seq: int, *, status: int = 200, took_s: float | None = 0.1, scheduled_s: float = 0.0
) -> FrameRecord:
    sent_s = scheduled_s + 0.01
    answered_s = None if took_s is None else sent_s + took_s
    return FrameRecord(seq, 0, scheduled_s, sent_s, answered_s, status, {})


def test_every_frame_counts_once_by_how_it_ended() -> None:
    records = [
        record(0),
        record(1, took_s=0.51),
        record(2, status=429),
        record(3, status=504),
        record(4, status=503),
        record(5, status=0, took_s=None),
    ]
    counts = count_overload(records, deadline_ms=500.0)
    assert (counts.sent, counts.served, counts.served_late) == (6, 2, 1)
    assert (counts.refused, counts.expired, counts.failed) == (1, 1, 2)


def test_recovery_ends_with_the_last_frame_that_was_refused_or_slow() -> None:
    records = [
        record(0, scheduled_s=9.0, status=429),
        record(1, scheduled_s=10.1, status=429),
        record(2, scheduled_s=10.4, took_s=0.3),
        record(3, scheduled_s=11.0),
    ]
    assert recovery_s(records, ended_s=10.0, slow_ms=200.0) == pytest.approx(0.4)
    assert recovery_s(records[3:], ended_s=10.0, slow_ms=200.0) == 0.0
