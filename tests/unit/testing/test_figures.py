from __future__ import annotations

import pytest

from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import Switch
from sightloop.testing.figures import (
    latencies_in,
    percentile,
    steady_window,
    update_figures,
    update_window,
)

_SWITCH = Switch(order_s=10.0, ack_s=10.5, digest="new")


def _record(due_s: float, latency_ms: float | None, *, late_ms: float = 0.0) -> FrameRecord:
    answered_s = None if latency_ms is None else due_s + latency_ms / 1000
    return FrameRecord(
        seq=0,
        image=0,
        scheduled_s=due_s,
        sent_s=due_s + late_ms / 1000,
        answered_s=answered_s,
        status=0 if answered_s is None else 200,
        body={},
    )


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(reversed(values), 0.5) == 50.0
    assert percentile([7.0], 0.99) == 7.0


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="found none"):
        percentile([], 0.5)


def test_latency_counts_from_when_the_frame_was_due() -> None:
    assert latencies_in([_record(1.0, 600.0, late_ms=500.0)], (0.0, 2.0)) == pytest.approx([600.0])


def test_windows_are_half_open_and_leave_lost_frames_out() -> None:
    records = [_record(0.9, 1.0), _record(1.0, 2.0), _record(1.5, None), _record(2.0, 3.0)]
    assert latencies_in(records, (1.0, 2.0)) == pytest.approx([2.0])


def test_steady_window_is_as_long_as_the_update_and_ends_at_the_order() -> None:
    assert update_window(_SWITCH) == (10.0, 11.5)
    assert steady_window(_SWITCH) == (8.5, 10.0)


def test_figures_compare_update_windows_with_those_just_before() -> None:
    records = [
        _record(8.0, 900.0),  # before the steady window
        _record(9.0, 10.0),
        _record(9.5, 12.0),
        _record(10.1, 20.0),
        _record(11.4, 15.0),
        _record(11.6, 900.0),  # after the update window
    ]
    figures = update_figures(records, [_SWITCH])
    assert figures.steady_p99_ms == pytest.approx(12.0)
    assert figures.update_p99_ms == pytest.approx(20.0)
    assert figures.p99_ratio == pytest.approx(20 / 12)
    assert figures.worst_over_steady_max_ms == pytest.approx(8.0)
    assert (figures.steady_frames, figures.update_frames) == (2, 2)
