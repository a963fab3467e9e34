"""Which release answers the frames of one stream (camera, tracker).

A stream keeps its release until an operator's order changes the slot, and then moves once, between
two frames: not before its open frames are answered. While the workers of its release are dead it
waits for them; only when they cannot be loaded again does it go to who answers, and then it stays
there. Pure state on one thread; who is asked, and when, is decided in `dispatch.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sightloop.serving.slot import RoutingTable, WorkerGroup


@dataclass(slots=True)
class _Pin:
    digest: str
    order: int
    open_frames: int = 0


class Streams:
    """The pins of one line; the least recently used ones are forgotten beyond `streams_max`."""

    def __init__(self, streams_max: int) -> None:
        self._streams_max = streams_max
        self._pins: OrderedDict[str, _Pin] = OrderedDict()
        self._lost: set[str] = set()

    def __len__(self) -> int:
        return len(self._pins)

    def group_for(self, stream: str, table: RoutingTable) -> WorkerGroup | None:
        """Who answers the stream's next frame; None while it has to wait."""
        pin = self._pins.get(stream)
        if pin is None:
            return table.answering
        if pin.order != table.order:
            return table.answering if pin.open_frames == 0 else None
        group = table.of_digest(pin.digest)
        if group is not None and group.alive:
            return group
        if group is not None and pin.digest not in self._lost:
            return None
        return table.answering if pin.open_frames == 0 else None

    def opened(self, stream: str, group: WorkerGroup, table: RoutingTable) -> None:
        """A frame of the stream goes to a worker of `group`."""
        pin = self._pins.pop(stream, None) or _Pin(group.release.digest, table.order)
        pin.digest, pin.order = group.release.digest, table.order
        pin.open_frames += 1
        self._pins[stream] = pin
        while len(self._pins) > self._streams_max:
            idle = next((name for name, pin in self._pins.items() if pin.open_frames == 0), None)
            if idle is None:
                return
            del self._pins[idle]

    def closed(self, stream: str) -> None:
        """A frame of the stream is answered, or its worker has died."""
        self._pins[stream].open_frames -= 1

    def lost(self, digest: str) -> None:
        """The release cannot be loaded again for now: its streams wait no longer."""
        self._lost.add(digest)

    def found(self, digest: str) -> None:
        """The release is back."""
        self._lost.discard(digest)
