"""Figures over a camera's records: windows and percentiles. Pure.

The demo and the bench call this file, so that both mean the same by a word. Latency is open
loop: from the moment a frame was due, not from when it could be sent. Lost frames have none;
they are counted by `checker.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import Switch

TAIL_S: Final = 1.0
"""An update's window ends this long after its acknowledgement."""

Window = tuple[float, float]
"""Begin and end in CLOCK_MONOTONIC seconds; the end is outside."""


@dataclass(frozen=True, slots=True)
class UpdateFigures:
    """Latency around updates against latency just before them, each pooled over all updates.

    Attributes:
        steady_p50_ms: Median of the windows just before each order.
        steady_p99_ms: 99th percentile of them.
        update_p50_ms: Median of the windows from order to acknowledgement + 1 s.
        update_p99_ms: 99th percentile of them.
        worst_over_steady_max_ms: Slowest frame of the update windows minus the slowest steady one.
        steady_frames: Frames behind the steady figures.
        update_frames: Frames behind the others.
    """

    steady_p50_ms: float
    steady_p99_ms: float
    update_p50_ms: float
    update_p99_ms: float
    worst_over_steady_max_ms: float
    steady_frames: int
    update_frames: int

    @property
    def p99_ratio(self) -> float:
        """Update p99 over steady p99."""
        return self.update_p99_ms / self.steady_p99_ms


def percentile(values: Iterable[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of all values do not exceed (nearest rank).

    Raises:
        ValueError: No values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("percentile: expected at least one value, found none")
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def update_window(switch: Switch) -> Window:
    """From the order to a second after its acknowledgement."""
    return switch.order_s, switch.ack_s + TAIL_S


def steady_window(switch: Switch) -> Window:
    """As long as the update's window, just before the order."""
    begin_s, end_s = update_window(switch)
    return begin_s - (end_s - begin_s), begin_s


def latencies_in(records: Iterable[FrameRecord], window: Window) -> list[float]:
    """Latencies in ms of the answered frames that were due in a window."""
    begin_s, end_s = window
    return [
        record.latency_ms
        for record in records
        if record.answered and record.latency_ms is not None
        if begin_s <= record.scheduled_s < end_s
    ]


def update_figures(records: Sequence[FrameRecord], switches: Sequence[Switch]) -> UpdateFigures:
    """Compare the windows of updates with those just before them.

    Raises:
        ValueError: No frame was answered in one of the two.
    """
    steady = [ms for one in switches for ms in latencies_in(records, steady_window(one))]
    during = [ms for one in switches for ms in latencies_in(records, update_window(one))]
    return UpdateFigures(
        steady_p50_ms=percentile(steady, 0.5),
        steady_p99_ms=percentile(steady, 0.99),
        update_p50_ms=percentile(during, 0.5),
        update_p99_ms=percentile(during, 0.99),
        worst_over_steady_max_ms=max(during) - max(steady),
        steady_frames=len(steady),
        update_frames=len(during),
    )
