import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from sightloop._support.clock import SystemClock
from sightloop._support.database import open_sqlite
from sightloop.errors import ServingError
from sightloop.serving.access import Caller, Role
from sightloop.serving.audit import (
    GENESIS,
    AuditEntry,
    AuditLog,
    AuditStore,
    ChainedEntry,
    audit_as_dict,
    first_fault,
    hash_of,
)

ENTRY = AuditEntry(
    at="2026-01-31T12:00:00.000Z",
    who="ops",
    role="operate",
    address="10.0.0.7",
    action="update",
    line="plate",
    target="/bundles/1.1.0",
    outcome="switched",
    release="1.1.0 ac98",
)
WORDS = st.text(max_size=20)
_ENTRY = st.builds(AuditEntry, **dict.fromkeys(AuditEntry.__dataclass_fields__, WORDS))
ENTRIES = st.lists(_ENTRY, min_size=1, max_size=6)
SEVERAL = ENTRIES.filter(lambda entries: len({hash_of(e, GENESIS) for e in entries}) > 1)


def chain(entries: list[AuditEntry]) -> list[ChainedEntry]:
    found: list[ChainedEntry] = []
    for entry in entries:
        previous = found[-1].hash if found else GENESIS
        found.append(ChainedEntry(entry, previous, hash_of(entry, previous)))
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_sqlite(tmp_path / "serving.db")


def test_entries_are_read_as_they_were_added_and_hold_together(engine: Engine) -> None:
    store = AuditStore(engine)
    added = [store.append(replace(ENTRY, target=str(n))) for n in range(5)]
    assert list(AuditStore(engine).entries()) == added
    assert first_fault(added) is None
    assert added[0].previous == GENESIS
    engine.dispose()


@given(ENTRIES, st.data())
def test_entry_that_was_changed_is_the_first_fault(
    entries: list[AuditEntry], data: st.DataObject
) -> None:
    chained = chain(entries)
    place = data.draw(st.integers(0, len(chained) - 1))
    name = data.draw(st.sampled_from(sorted(AuditEntry.__dataclass_fields__)))
    old = getattr(chained[place].entry, name)
    new = data.draw(WORDS.filter(lambda word: word != old))
    chained[place] = replace(chained[place], entry=replace(chained[place].entry, **{name: new}))
    assert first_fault(chained) == place


@given(SEVERAL, st.data())
def test_entry_that_was_taken_out_shows_where_it_was(
    entries: list[AuditEntry], data: st.DataObject
) -> None:
    chained = chain(entries)
    place = data.draw(st.integers(0, len(chained) - 2))
    del chained[place]
    assert first_fault(chained) == place


@given(SEVERAL)
def test_entries_that_changed_places_show(entries: list[AuditEntry]) -> None:
    chained = chain(entries)
    chained[0], chained[1] = chained[1], chained[0]
    assert first_fault(chained) == 0


def test_entry_that_was_put_in_with_a_hash_of_its_own_breaks_the_next() -> None:
    chained = chain([ENTRY, replace(ENTRY, who="other")])
    forged = replace(ENTRY, who="nobody")
    chained.insert(1, ChainedEntry(forged, chained[0].hash, hash_of(forged, chained[0].hash)))
    assert first_fault(chained) == 2


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET who = 'x'", "DELETE FROM audit_log"])
def test_database_refuses_to_change_or_delete(engine: Engine, statement: str) -> None:
    store = AuditStore(engine)
    store.append(ENTRY)
    with pytest.raises(IntegrityError, match="only ever added to"), engine.begin() as connection:
        connection.execute(text(statement))
    assert [chained.entry for chained in store.entries()] == [ENTRY]
    engine.dispose()


def test_change_behind_the_databases_back_is_seen(tmp_path: Path, engine: Engine) -> None:
    store = AuditStore(engine)
    for n in range(4):
        store.append(replace(ENTRY, target=str(n)))
    with sqlite3.connect(tmp_path / "serving.db") as connection:
        connection.execute("DROP TRIGGER audit_log_no_update")
        connection.execute("UPDATE audit_log SET who = 'somebody else' WHERE id = 3")
    connection.close()
    found = audit_as_dict(store.entries(), last=2)
    assert (found["intact"], found["first_fault"], found["length"]) == (False, 2, 4)
    engine.dispose()


def test_log_that_was_cut_off_is_told_by_the_hash_that_was_kept(engine: Engine) -> None:
    store = AuditStore(engine)
    kept = [store.append(replace(ENTRY, target=str(n))) for n in range(3)][-1].hash
    assert audit_as_dict(store.entries(), last=0)["newest"] == kept
    assert audit_as_dict(store.entries()[:-1], last=0)["intact"] is True
    assert audit_as_dict(store.entries()[:-1], last=0)["newest"] != kept
    engine.dispose()


def test_entry_that_cannot_be_written_is_an_error_with_its_reason(engine: Engine) -> None:
    async def main() -> None:
        store = AuditStore(engine)
        with ThreadPoolExecutor(max_workers=1) as executor:
            log = AuditLog(store, executor=executor, clock=SystemClock())
            with engine.begin() as connection:
                connection.execute(text("DROP TABLE audit_log"))
            with pytest.raises(ServingError) as caught:
                await log.add(
                    Caller("ops", Role.OPERATE, "here"),
                    action="update",
                    line="plate",
                    target="",
                    outcome="switched",
                    release="",
                )
        assert caught.value.reason == "audit_not_saved"

    asyncio.run(main())
    engine.dispose()
