"""Which release has answered how much of a line's traffic of the last minute. Pure but for a clock.

Counts are kept by second in a ring, so that a request pays for two additions and nothing grows.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from sightloop._support.clock import Clock

WINDOW_S: Final = 60


class RecentTraffic:
    """Answers by release over the last `WINDOW_S` seconds. One thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: dict[int, Counter[str]] = {}

    def count(self, digest: str) -> None:
        """Count one answer of a release."""
        second = int(self._clock.monotonic_s())
        counts = self._seconds.get(second)
        if counts is None:
            self._drop_old(second)
            counts = self._seconds[second] = Counter()
        counts[digest] += 1

    def shares(self) -> dict[str, float]:
        """Share of the answers by digest, adding up to 1; empty without an answer."""
        self._drop_old(int(self._clock.monotonic_s()))
        total: Counter[str] = Counter()
        for counts in self._seconds.values():
            total.update(counts)
        whole = total.total()
        return {digest: count / whole for digest, count in total.items()}

    def _drop_old(self, now: int) -> None:
        for second in [second for second in self._seconds if second <= now - WINDOW_S]:
            del self._seconds[second]
