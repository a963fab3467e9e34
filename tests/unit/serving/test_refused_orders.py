from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sightloop.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from sightloop.serving.access import Caller, Order, Role, new_secret, stranger, token_of
from sightloop.serving.audit import AuditEntry, AuditLog
from sightloop.serving.doorkeeper import DoorRules
from sightloop.serving.refused_orders import RefusedOrders
from sightloop.telemetry.events import set_sink
from sightloop.testing.scripted_door import audit_log, door_of

ORDER = Order("rollback", "plate")
LOOKER = Caller("looker", Role.READ, "10.0.0.7")
FIRST = 3
SECRET = new_secret()
TOKEN = token_of(SECRET, name="looker", role=Role.READ, made_at="now")


def written(
    folder: Path,
    body: Callable[[RefusedOrders, AuditLog], Awaitable[None]],
    *,
    window_s: float = 3600.0,
) -> list[AuditEntry]:
    """What stands in the log in the end."""

    async def main() -> list[AuditEntry]:
        with audit_log(folder) as log:
            refused = RefusedOrders(log, lines={"plate"}, first=FIRST, window_s=window_s)
            await body(refused, log)
            await refused.close()
            return [chained.entry for chained in await log.entries()]

    return asyncio.run(main())


def test_refused_order_is_written_down_with_who_gave_it(tmp_path: Path) -> None:
    async def body(refused: RefusedOrders, log: AuditLog) -> None:
        refused.note(ORDER, LOOKER, "role_too_low")

    (entry,) = written(tmp_path, body)
    assert (entry.who, entry.role, entry.address) == ("looker", "read", "10.0.0.7")
    assert (entry.action, entry.line, entry.outcome) == ("rollback", "plate", "role_too_low")


def test_flood_adds_a_few_entries_and_one_with_their_number(tmp_path: Path) -> None:
    async def body(refused: RefusedOrders, log: AuditLog) -> None:
        for n in range(5000):
            refused.note(ORDER, stranger(f"10.0.{n % 256}.{n // 256}"), "token_missing")

    entries = written(tmp_path, body)
    assert [entry.outcome for entry in entries] == ["token_missing"] * FIRST + ["4997 more refused"]
    assert {(entry.who, entry.role) for entry in entries} == {("?", "")}


def test_strangers_hide_no_attempt_of_somebody_who_is_known(tmp_path: Path) -> None:
    async def body(refused: RefusedOrders, log: AuditLog) -> None:
        for _ in range(100):
            refused.note(ORDER, stranger("10.0.0.9"), "token_missing")
        refused.note(ORDER, LOOKER, "role_too_low")

    assert [entry.who for entry in written(tmp_path, body)] == ["?"] * FIRST + ["looker", "?"]


def test_number_is_written_when_the_window_ends_and_a_new_one_begins(tmp_path: Path) -> None:
    async def body(refused: RefusedOrders, log: AuditLog) -> None:
        for _ in range(FIRST + 2):
            refused.note(ORDER, LOOKER, "role_too_low")
        found: list[str] = []
        while "2 more refused" not in found:
            await asyncio.sleep(0)
            found = [chained.entry.outcome for chained in await log.entries()]
        refused.note(ORDER, LOOKER, "role_too_low")

    outcomes = [entry.outcome for entry in written(tmp_path, body, window_s=0.05)]
    assert outcomes == ["role_too_low"] * FIRST + ["2 more refused", "role_too_low"]


def test_nothing_that_a_caller_has_written_gets_into_the_log(tmp_path: Path) -> None:
    async def body(refused: RefusedOrders, log: AuditLog) -> None:
        refused.note(Order("update", "\x1b[2J" * 5000), LOOKER, "role_too_low")

    (entry,) = written(tmp_path, body)
    assert entry.line == "?"


def test_full_disk_is_reported_and_refuses_as_before(tmp_path: Path) -> None:
    said: list[dict[str, object]] = []

    async def main() -> None:
        with audit_log(tmp_path) as log:
            store = log._store
            with store._engine.begin() as connection:
                connection.exec_driver_sql("DROP TABLE audit_log")
            refused = RefusedOrders(log, lines={"plate"})
            refused.note(ORDER, LOOKER, "role_too_low")
            await refused.close()

    set_sink(lambda record: said.append(dict(record)))
    try:
        asyncio.run(main())
    finally:
        set_sink(None)
    assert [(event["event"], event["who"]) for event in said] == [("audit_not_saved", "looker")]


@pytest.mark.parametrize(
    ("header", "needed", "order", "noted"),
    [
        (None, Role.OPERATE, ORDER, ("?", "token_missing")),
        ("Bearer guess", Role.OPERATE, ORDER, ("?", "token_unknown")),
        (f"Bearer {SECRET}", Role.OPERATE, ORDER, ("looker", "role_too_low")),
        (None, Role.READ, None, None),
        (f"Bearer {SECRET}", Role.READ, None, None),
    ],
    ids=["no token", "wrong token", "role too low", "look without a token", "look"],
)
def test_door_notes_orders_and_no_looks(
    header: str | None, needed: Role, order: Order | None, noted: tuple[str, str] | None
) -> None:
    found: list[tuple[str, str]] = []
    door = door_of(
        rules=DoorRules(admin_asks=True),
        tokens=(TOKEN,),
        note_order=lambda order, caller, reason: found.append((caller.name, reason)),
    )
    with contextlib.suppress(UnauthenticatedError, ForbiddenError):
        door.enter_admin(needed, header, "10.0.0.9", order)
    assert found == ([noted] if noted else [])


def test_order_beyond_the_rate_is_noted() -> None:
    found: list[tuple[str, str]] = []
    door = door_of(
        tokens=(TOKEN,),
        calls_per_s=0.1,
        note_order=lambda order, caller, reason: found.append((caller.name, reason)),
    )
    for kind in (UnauthenticatedError, RateLimitedError):
        with pytest.raises(kind):
            door.enter_admin(Role.OPERATE, None, "10.0.0.9", ORDER)
    assert found == [("?", "token_missing"), ("?", "rate_limited")]
