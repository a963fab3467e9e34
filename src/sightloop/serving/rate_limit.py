"""How often an address may call the admin plane: a bucket of calls that fills again with time.

Memory is bounded: the address not heard of for longest makes room. Pure but for a clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from sightloop._support.clock import Clock

ADDRESSES_MAX: Final = 4096
_BURST_S: Final = 2.0
"""How many seconds' worth of calls may come at once."""


class RateLimit:
    """One bucket for each address. One thread."""

    def __init__(self, calls_per_s: float, *, clock: Clock) -> None:
        """Allow `calls_per_s` from each address, and twice that at once."""
        self._rate = calls_per_s
        self._size = max(1.0, calls_per_s * _BURST_S)
        self.clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Take one call out of the address's bucket; False if it is empty."""
        now_s = self.clock.monotonic_s()
        left, since_s = self._buckets.pop(address, (self._size, now_s))
        left = min(self._size, left + (now_s - since_s) * self._rate)
        allowed = left >= 1.0
        self._buckets[address] = (left - 1.0 if allowed else left, now_s)
        while len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return allowed
