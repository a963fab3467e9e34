"""Orders updates back and forth, with quiet time before each to compare it with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sightloop._support.clock import Clock
from sightloop.client.http_client import Client
from sightloop.errors import ServingError
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import Switch
from sightloop.testing.figures import TAIL_S

_MARGIN_S = 0.2


def back_and_forth(
    client: Client,
    line: str,
    digests: Sequence[str],
    *,
    count: int,
    clock: Clock,
    on_update: Callable[[int, Switch], None] = lambda _number, _switch: None,
) -> list[Switch]:
    """Order `count` updates, each to the next of `digests`, and wait for each.

    Between an acknowledgement and the next order lies the tail of the one window and, at least as
    long as the next one is likely to be, the steady window of the next.

    Raises:
        ServingError: An update was refused.
    """
    switches: list[Switch] = []
    longest_s = 0.5
    for number in range(count):
        clock.sleep_s(2 * TAIL_S + longest_s + _MARGIN_S)
        digest = digests[number % len(digests)]
        order_s = clock.monotonic_s()
        outcome = client.update(line, digest=digest)
        ack_s = clock.monotonic_s()
        if outcome["state"] != "ACTIVE":
            raise ServingError(
                f"update {number} of line {line} to {digest[:12]}: expected it to pass its gates, "
                f"found refused: {outcome['refused']}",
                "update_refused",
            )
        switch = Switch(order_s=order_s, ack_s=ack_s, digest=digest)
        longest_s = max(longest_s, ack_s - order_s)
        switches.append(switch)
        on_update(number, switch)
    clock.sleep_s(TAIL_S + _MARGIN_S)
    return switches


def roll_back(client: Client, line: str, *, clock: Clock) -> Switch:
    """Order a rollback to the previous release.

    Raises:
        ServingError: It was refused.
    """
    order_s = clock.monotonic_s()
    outcome = client.rollback(line)
    ack_s = clock.monotonic_s()
    if outcome["state"] != "ACTIVE":
        raise ServingError(
            f"rollback of line {line}: expected it to be done, found {outcome['refused']}",
            "rollback_refused",
        )
    return Switch(order_s=order_s, ack_s=ack_s, digest=str(outcome["release"]["digest"]))


def first_answer_s(records: Sequence[FrameRecord], switch: Switch) -> float:
    """From an order to the first whole answer of the release it switched to, in seconds."""
    answered = [
        record.answered_s
        for record in records
        if record.answered_s is not None
        and record.digest == switch.digest
        and record.sent_s > switch.order_s
    ]
    return min(answered) - switch.order_s
