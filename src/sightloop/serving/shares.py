"""How the lines of one server share its cores: by weight, when all want more than there is.

Stride scheduling (Waldspurger and Weihl, 1995): each line's virtual time grows by the worker time
it has used divided by its weight; the line that is furthest behind goes next. A line that was idle
starts at the time of those that were not, so that it cannot save up. Work-conserving: what one line
does not use, the others may. Pure state on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Line:
    weight: float
    go_on: Callable[[], None]
    virtual_s: float = 0.0
    running: int = 0
    wants: bool = False
    idle: bool = True


class Shares:
    """Hands out the right to have a request in a worker."""

    def __init__(self, slots: int) -> None:
        """Share `slots` requests that may be in workers at once."""
        self._slots = slots
        self._lines: dict[str, _Line] = {}

    def add(self, name: str, weight: float, go_on: Callable[[], None]) -> None:
        """Let a line take part; `go_on` is called when it may ask again after a refusal."""
        self._lines[name] = _Line(weight, go_on)

    def take(self, name: str) -> bool:
        """Take a slot for one request; a refusal is remembered as a wish."""
        line = self._lines[name]
        if line.idle:
            busy = (other.virtual_s for other in self._lines.values() if not other.idle)
            line.virtual_s = max(line.virtual_s, min(busy, default=0.0))
            line.idle = False
        if len(self._lines) > 1 and self._running >= self._slots:
            line.wants = True
            return False
        line.running += 1
        return True

    def give_back(self, name: str, used_s: float) -> None:
        """End one request of `name` that took `used_s` of a worker, and let the next ones go."""
        line = self._lines[name]
        line.running -= 1
        line.virtual_s += used_s / line.weight
        line.idle = line.running == 0 and not line.wants
        while self._running < self._slots:
            wanting = [other for other in self._lines.values() if other.wants]
            if not wanting:
                return
            first = min(wanting, key=lambda other: other.virtual_s)
            first.wants = False
            first.go_on()

    @property
    def _running(self) -> int:
        return sum(line.running for line in self._lines.values())
