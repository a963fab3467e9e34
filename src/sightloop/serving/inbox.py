"""What the front sends to a worker, frame by frame, and which requests are answered together.

What lies in the socket is taken; a batch is waited for to fill only where `serve.batch_wait_ms`
says so. A request that must be answered alone (its worker died on a batch that it was in, or it is
no image) ends a batch and is never part of one. One thread reads.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass

from sightloop._support.clock import Clock
from sightloop.serving.wire import ALONE, HEAD, Kind, unpack


@dataclass(frozen=True, slots=True)
class Received:
    """One frame from the front.

    Attributes:
        alone: Whether a request must not be answered together with others.
    """

    kind: Kind
    id: int
    alone: bool
    body: bytes


class Inbox:
    """The reading half of a worker's socket."""

    def __init__(self, connection: socket.socket, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._next: Received | None = None
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)

    def take(self) -> Received | None:
        """The next frame, waited for; None when the front is gone."""
        held, self._next = self._next, None
        return held if held is not None else self._receive()

    def batch(self, first: Received, *, most: int, wait_s: float) -> list[Received]:
        """A request, and those behind it that may be answered by the same run.

        Args:
            first: What `take` gave.
            most: Largest batch.
            wait_s: How long to wait for it to fill.

        Returns:
            `first` and what follows, in order; what does not belong to them is kept for `take`.
        """
        batch = [first]
        if first.alone or most == 1:
            return batch
        until_s = self._clock.monotonic_s() + wait_s
        while len(batch) < most and self._has_more(until_s - self._clock.monotonic_s()):
            received = self._receive()
            if received is None or received.alone:
                self._next = received
                break
            batch.append(received)
        return batch

    def _has_more(self, wait_s: float) -> bool:
        return bool(self._readable.poll(max(wait_s, 0.0) * 1000))

    def _receive(self) -> Received | None:
        data = self._read(HEAD.size)
        if data is None:
            return None
        head = unpack(data)
        body = self._read(head.length)
        if body is None:
            return None
        alone = head.kind is not Kind.DETECT or head.status == ALONE
        return Received(head.kind, head.id, alone, body)

    def _read(self, count: int) -> bytes | None:
        """Exactly `count` bytes, or None when the front is gone."""
        buffer = bytearray(count)
        view = memoryview(buffer)
        while view:
            try:
                received = self._connection.recv_into(view)
            except ConnectionError:
                return None
            if received == 0:
                return None
            view = view[received:]
        return bytes(buffer)
