"""One line on a server's terminal: frames answered, refused and lost, p99 of the last minute.

It reads the metrics that are counted anyway, once a second, on a thread of its own: requests pay
nothing for it, and a terminal that stands still (ctrl-S) holds up this thread alone. Nothing here
decides anything; `/metrics` has the same and more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Final, Self, TextIO

from sightloop.telemetry.metrics import ServingMetrics

_PERIOD_S: Final = 1.0
_WINDOW: Final = 60
_CLEAR: Final = "\r\x1b[2K"
_REFUSED: Final = frozenset({"input_refused", "image_empty", "overloaded", "frame_kills_worker"})
"""Outcomes with which a server answers on purpose; any other but `ok` is a lost frame."""


@dataclass(frozen=True, slots=True)
class LineCounts:
    """What one model line has counted since the start.

    Attributes:
        buckets: Answers at most this slow: (upper bound in seconds, count), cumulative.
        semver: The champion's version; empty while nobody holds the role.
    """

    answered: int
    refused: int
    lost: int
    buckets: tuple[tuple[float, int], ...]
    semver: str
    degraded: bool


def read_counts(metrics: ServingMetrics) -> dict[str, LineCounts]:
    """The present counts by line."""
    answered: dict[str, list[int]] = {}
    buckets: dict[str, list[tuple[float, int]]] = {}
    semvers: dict[str, str] = {}
    degraded: set[str] = set()
    for labels, value in _samples(metrics.requests, "_total"):
        counts = answered.setdefault(labels["line"], [0, 0, 0])
        outcome = labels["outcome"]
        counts[0 if outcome == "ok" else 1 if outcome in _REFUSED else 2] += int(value)
    for labels, value in _samples(metrics.latency, "_bucket"):
        bucket = (float(labels["le"]), int(value))
        buckets.setdefault(labels["line"], []).append(bucket)
    for labels, _ in _samples(metrics.release, ""):
        if labels["role"] == "champion":
            semvers[labels["line"]] = labels["semver"]
    for labels, value in _samples(metrics.degraded, ""):
        if value:
            degraded.add(labels["line"])
    none = [0, 0, 0]
    return {
        line: LineCounts(
            answered=answered.get(line, none)[0],
            refused=answered.get(line, none)[1],
            lost=answered.get(line, none)[2],
            buckets=tuple(buckets.get(line, ())),
            semver=semvers.get(line, ""),
            degraded=line in degraded,
        )
        for line in sorted({*answered, *semvers})
    }


def _samples(metric: object, ending: str) -> list[tuple[Mapping[str, str], float]]:
    families = metric.collect()  # type: ignore[attr-defined]  # what every metric has
    return [
        (sample.labels, sample.value)
        for family in families
        for sample in family.samples
        if sample.name == family.name + ending
    ]


def p99_ms(before: LineCounts | None, now: LineCounts) -> float | None:
    """The 99th percentile between two readings, interpolated within its bucket.

    Returns:
        Milliseconds; infinite above the last bound; None without an answer in between.
    """
    earlier = dict(before.buckets) if before is not None else {}
    since = [(bound, count - earlier.get(bound, 0)) for bound, count in now.buckets]
    if not since or since[-1][1] == 0:
        return None
    rank = 0.99 * since[-1][1]
    for (low, below), (high, count) in pairwise([(0.0, 0), *since]):
        if count >= rank:
            return 1000 * (low + (high - low) * (rank - below) / (count - below))
    return None


def live_text(
    before: Mapping[str, LineCounts], now: Mapping[str, LineCounts], *, columns: int
) -> str:
    """The line as people read it.

    Args:
        before: The reading of a minute ago, or the first.
        now: The present reading.
        columns: What the terminal has; longer text is cut, since it would wrap.
    """
    parts = [_line_text(name, before.get(name), counts) for name, counts in now.items()]
    text = "  |  ".join(parts) or "no requests yet"
    return text if len(text) < columns else text[: max(columns - 2, 0)] + "…"


def _line_text(name: str, before: LineCounts | None, now: LineCounts) -> str:
    slow_ms = p99_ms(before, now)
    slow = "-" if slow_ms is None else f"{slow_ms:.0f} ms"
    state = " DEGRADED" if now.degraded else ""
    return (
        f"{name} {now.semver or '-'}{state}  {now.answered:,} answered  "
        f"{now.refused:,} refused  {now.lost:,} lost  p99 {slow}"
    )


class LiveLine:
    """Draws the line once a second. Use as a context: on the way out the thread is ended."""

    def __init__(
        self, metrics: ServingMetrics, stream: TextIO, *, columns: Callable[[], int]
    ) -> None:
        """Prepare; nothing is drawn before the context is entered.

        Args:
            metrics: The server's.
            stream: A terminal.
            columns: Its present width.
        """
        self._metrics = metrics
        self._stream = stream
        self._columns = columns
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-line", daemon=True)
        self._readings: deque[dict[str, LineCounts]] = deque(maxlen=_WINDOW + 1)

    def draw(self) -> None:
        """Read the counts and draw over what stands there."""
        now = read_counts(self._metrics)
        self._readings.append(now)
        self._write(_CLEAR + live_text(self._readings[0], now, columns=self._columns()))

    def clear(self) -> None:
        """Make room for other output; the next second draws again."""
        self._write(_CLEAR)

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self.draw()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal is gone: nobody looks on, and the server goes on
            self._ended.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace
        self._ended.set()
        self._thread.join(_PERIOD_S)
        if not self._thread.is_alive():  # else it waits for the terminal, and so would we
            self.draw()
            self._write("\n")
