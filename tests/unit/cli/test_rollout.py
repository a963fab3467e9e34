"""While a rollout waits it says what the candidate is at."""

from __future__ import annotations

import threading

import pytest

from sightloop.cli.rollout import repeated
from sightloop.errors import ServerUnreachableError


def test_call_is_repeated_while_the_block_waits_and_not_after() -> None:
    calls: list[int] = []
    three = threading.Event()

    def call() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ServerUnreachableError("an answer that did not come ends nothing")
        if len(calls) == 3:
            three.set()

    with repeated(call, every_s=0.001):
        assert three.wait(10)
    count = len(calls)
    assert count >= 3
    assert threading.active_count() == 1 or len(calls) == count


def test_what_the_block_raises_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), repeated(lambda: None, every_s=0.001):
        raise KeyboardInterrupt
