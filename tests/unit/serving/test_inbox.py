"""Which requests are answered together, over a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from sightloop._support.clock import SystemClock
from sightloop.serving.inbox import Inbox, Received
from sightloop.serving.wire import ALONE, Kind, pack


class _Front:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._ids = 0

    def say(self, kind: Kind = Kind.DETECT, *, alone: bool = False, body: bytes = b"frame") -> None:
        self._ids += 1
        head = pack(kind, body, id=self._ids, status=ALONE if alone else 0)
        self.connection.sendall(head + body)


@pytest.fixture
def ends() -> Iterator[tuple[_Front, Inbox]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield _Front(ours), Inbox(theirs, clock=SystemClock())


def ids_of(batch: list[Received]) -> list[int]:
    return [received.id for received in batch]


def batch_of(inbox: Inbox, *, most: int = 8, wait_s: float = 0.0) -> list[Received]:
    first = inbox.take()
    assert first is not None
    return inbox.batch(first, most=most, wait_s=wait_s)


def test_what_waits_is_taken_in_order_and_nothing_is_waited_for(ends: tuple[_Front, Inbox]) -> None:
    front, inbox = ends
    for _ in range(3):
        front.say()
    assert ids_of(batch_of(inbox)) == [1, 2, 3]


def test_batch_is_no_larger_than_it_may_be(ends: tuple[_Front, Inbox]) -> None:
    front, inbox = ends
    for _ in range(5):
        front.say()
    assert [ids_of(batch_of(inbox, most=2)) for _ in range(3)] == [[1, 2], [3, 4], [5]]


def test_one_at_a_time_takes_one(ends: tuple[_Front, Inbox]) -> None:
    front, inbox = ends
    for _ in range(2):
        front.say()
    assert ids_of(batch_of(inbox, most=1)) == [1]


def test_request_that_must_be_answered_alone_is_in_no_batch(ends: tuple[_Front, Inbox]) -> None:
    front, inbox = ends
    front.say()
    front.say(alone=True)
    front.say()
    front.say()
    assert [ids_of(batch_of(inbox)) for _ in range(3)] == [[1], [2], [3, 4]]


@pytest.mark.parametrize("kind", [Kind.INFER, Kind.STOP, Kind.ORDER])
def test_what_is_no_image_ends_a_batch_and_is_not_lost(
    ends: tuple[_Front, Inbox], kind: Kind
) -> None:
    front, inbox = ends
    front.say()
    front.say(kind, body=b"x")
    assert ids_of(batch_of(inbox)) == [1]
    received = inbox.take()
    assert received is not None
    assert (received.kind, received.body) == (kind, b"x")


def test_front_that_goes_in_the_middle_of_a_batch_leaves_what_came(
    ends: tuple[_Front, Inbox],
) -> None:
    front, inbox = ends
    front.say()
    front.connection.sendall(pack(Kind.DETECT, b"frame", id=2)[:5])
    front.connection.close()
    assert ids_of(batch_of(inbox)) == [1]
    assert inbox.take() is None


def test_batch_that_may_wait_is_filled_by_what_comes_meanwhile(
    ends: tuple[_Front, Inbox],
) -> None:
    front, inbox = ends
    front.say()
    later = threading.Timer(0.05, front.say)
    later.start()
    # It ends when it is full, long before its time.
    assert ids_of(batch_of(inbox, most=2, wait_s=20.0)) == [1, 2]
    later.join()


def test_batch_that_waits_in_vain_goes_without(ends: tuple[_Front, Inbox]) -> None:
    front, inbox = ends
    front.say()
    assert ids_of(batch_of(inbox, most=2, wait_s=0.01)) == [1]
