"""Who ordered what, when, from where, and how it ended: entries that are only ever added.

Each entry holds the hash of the one before it and its own over both, so that an entry that was
changed, taken out or put in between shows. Last entries that somebody cut off do not show in what
is left: keep the hash of the newest elsewhere (it is in the event log) and compare. The database
refuses to change or delete entries; the chain is for whoever writes past it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from sightloop._support.clock import Clock, utc_text
from sightloop.errors import ServingError
from sightloop.serving.access import Caller
from sightloop.telemetry.events import emit

GENESIS: Final = "0" * 64
"""What stands for the hash before the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One order.

    Attributes:
        at: UTC time as text.
        who: The token's name; `local` where nobody is asked for one, `?` of a stranger.
        role: The token's role; empty of a stranger.
        address: Where the call came from.
        action: `update` or `rollback`; `unload` and `orders` (several) are only ever refused.
        line: The model line; `?` of one that is not here.
        target: The bundle or digest that was named; empty for the previous release.
        outcome: `switched`, or the reason of the refusal or the error.
        release: Semver and digest, where they could be read; empty otherwise.
    """

    at: str
    who: str
    role: str
    address: str
    action: str
    line: str
    target: str
    outcome: str
    release: str


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry in its place.

    Attributes:
        previous: Hash of the entry before it.
        hash: Over `previous` and the entry.
    """

    entry: AuditEntry
    previous: str
    hash: str

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {**asdict(self.entry), "previous": self.previous, "hash": self.hash}


def hash_of(entry: AuditEntry, previous: str) -> str:
    """The hash of an entry behind `previous`. Pure."""
    words = json.dumps(asdict(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{words}".encode()).hexdigest()


def first_fault(entries: Iterable[ChainedEntry]) -> int | None:
    """Place of the first entry that does not follow from those before it; None if all do. Pure."""
    previous = GENESIS
    for place, chained in enumerate(entries):
        expected = hash_of(chained.entry, previous)
        if chained.previous != previous or chained.hash != expected:
            return place
        previous = chained.hash
    return None


_TABLES = MetaData()
_ENTRIES = Table(
    "audit_log",
    _TABLES,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("who", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("line", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("release", String(128), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
_FIELDS: Final = tuple(AuditEntry.__dataclass_fields__)
_REFUSALS: Final = tuple(
    f"CREATE TRIGGER IF NOT EXISTS audit_log_no_{verb.lower()} BEFORE {verb} ON audit_log "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
    for verb in ("UPDATE", "DELETE")
)


class AuditStore:
    """The log of a workspace. One writer at a time; safe to use from any one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        _TABLES.create_all(engine)
        if engine.dialect.name == "sqlite":
            with engine.begin() as connection:
                for statement in _REFUSALS:
                    connection.execute(text(statement))

    def append(self, entry: AuditEntry) -> ChainedEntry:
        """Add one entry; durable on return."""
        with self._engine.begin() as connection:
            newest = select(_ENTRIES.c.hash).order_by(_ENTRIES.c.id.desc()).limit(1)
            previous = connection.execute(newest).scalar() or GENESIS
            chained = ChainedEntry(entry, previous, hash_of(entry, previous))
            connection.execute(insert(_ENTRIES).values(chained.as_dict()))
        return chained

    def entries(self) -> tuple[ChainedEntry, ...]:
        """All of them, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_ENTRIES).order_by(_ENTRIES.c.id)).mappings().all()
        return tuple(
            ChainedEntry(
                AuditEntry(**{name: row[name] for name in _FIELDS}), row["previous"], row["hash"]
            )
            for row in rows
        )


class AuditLog:
    """Adds entries from the event loop, which never waits for the disk."""

    def __init__(self, store: AuditStore, *, executor: ThreadPoolExecutor, clock: Clock) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock

    async def add(
        self, caller: Caller, *, action: str, line: str, target: str, outcome: str, release: str
    ) -> None:
        """Add one entry; durable on return.

        Raises:
            ServingError: It could not be written (`audit_not_saved`).
        """
        entry = AuditEntry(
            at=utc_text(self._clock.wall_s()),
            who=caller.name,
            role=caller.role.value if caller.role is not None else "",
            address=caller.address,
            action=action,
            line=line,
            target=target,
            outcome=outcome,
            release=release,
        )
        loop = asyncio.get_running_loop()
        try:
            chained = await loop.run_in_executor(self._executor, self._store.append, entry)
        except SQLAlchemyError as error:
            raise ServingError(
                f"audit log: expected to write who ordered {action} of line {line}, found: "
                f"{error.__cause__ or error}; free disk space or mend the workspace",
                "audit_not_saved",
            ) from error
        emit("order_audited", **chained.as_dict())

    async def entries(self) -> tuple[ChainedEntry, ...]:
        """All of them, oldest first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._store.entries)


def audit_as_dict(entries: tuple[ChainedEntry, ...], *, last: int) -> dict[str, object]:
    """The newest `last` entries and whether the whole chain holds, as JSON values."""
    fault = first_fault(entries)
    return {
        "intact": fault is None,
        "first_fault": fault,
        "length": len(entries),
        "newest": entries[-1].hash if entries else GENESIS,
        "entries": [chained.as_dict() for chained in entries[-last:]] if last else [],
    }
