"""Time as a dependency: code takes a Clock, tests hand in one they move themselves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic_s(self) -> float:
        """Seconds of CLOCK_MONOTONIC: comparable between processes of one machine."""

    def wall_s(self) -> float:
        """Seconds since the epoch, UTC."""

    def sleep_s(self, seconds: float) -> None:
        """Block this thread."""


class SystemClock:
    """The machine's clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)


def utc_text(seconds: float) -> str:
    """Wall seconds as `2026-01-31T12:00:00.123Z`."""
    whole, millis = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{millis:03d}Z"
