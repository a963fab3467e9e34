"""What a slot has served: events that are only ever appended, and the state they add up to.

The fold is pure; the store is a table in the workspace's database. A row that `append` has
returned for survives a power cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, insert, select
from sqlalchemy.exc import SQLAlchemyError

from sightloop.errors import WorkspaceError
from sightloop.release.manifest import parse_semver
from sightloop.release.verdict import Verdict, verdict_from_dict


class Action(StrEnum):
    """What happened to a slot."""

    START = "start"
    UPDATE = "update"
    ROLLBACK = "rollback"
    REFUSED = "refused"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class ReleaseId:
    """Which release, within a line."""

    semver: str
    digest: str

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {"semver": self.semver, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class SlotEvent:
    """One entry of a slot's history.

    Attributes:
        at: UTC time as text.
        action: What happened.
        release: The release it happened to; None for a refused one that could not be read.
        reason: `ok`, or why it was refused.
        verdicts: The gates' verdicts behind it.
    """

    at: str
    action: Action
    release: ReleaseId | None
    reason: str = "ok"
    verdicts: tuple[Verdict, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "at": self.at,
            "action": self.action.value,
            "release": self.release.as_dict() if self.release else None,
            "reason": self.reason,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
        }


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """What a slot's events add up to.

    Attributes:
        champion: Who answers.
        previous: The last champion; the target of a plain rollback.
        accepted: Every release the slot has ever switched to, by digest.
    """

    champion: ReleaseId | None = None
    previous: ReleaseId | None = None
    accepted: tuple[ReleaseId, ...] = ()

    @property
    def highest_semver(self) -> str | None:
        """The highest version the slot has accepted."""
        return max((r.semver for r in self.accepted), key=parse_semver, default=None)


_SWITCHES = frozenset({Action.START, Action.UPDATE, Action.ROLLBACK})


def apply_event(record: SlotRecord, event: SlotEvent) -> SlotRecord:
    """The slot's state after one more event. Pure."""
    if event.action not in _SWITCHES or event.release is None:
        return record
    if event.release == record.champion:
        return record
    known = event.release in record.accepted
    return SlotRecord(
        champion=event.release,
        previous=record.champion,
        accepted=record.accepted if known else (*record.accepted, event.release),
    )


def fold(events: Iterable[SlotEvent]) -> SlotRecord:
    """The slot's state after all its events, oldest first. Pure."""
    record = SlotRecord()
    for event in events:
        record = apply_event(record, event)
    return record


_TABLES = MetaData()
_EVENTS = Table(
    "slot_events",
    _TABLES,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("line", String(64), nullable=False, index=True),
    Column("at", String(32), nullable=False),
    Column("action", String(16), nullable=False),
    Column("semver", String(32)),
    Column("digest", String(64)),
    Column("reason", String(64), nullable=False),
    Column("verdicts", Text, nullable=False),
)


class HistoryStore:
    """The events of all slots of a workspace. Safe to use from any one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        """Open the table, created if absent.

        Raises:
            WorkspaceError: The database cannot be opened (history_unusable).
        """
        self._engine = engine
        try:
            _TABLES.create_all(engine)
        except SQLAlchemyError as error:
            engine.dispose()
            raise WorkspaceError(
                f"history {engine.url.database}: expected a database that can be opened and "
                f"written, found: {error.__cause__ or error}; free disk space or mend the file",
                "history_unusable",
            ) from error

    def append(self, line: str, event: SlotEvent) -> None:
        """Add one event; durable on return."""
        row = {
            "line": line,
            "at": event.at,
            "action": event.action.value,
            "semver": event.release.semver if event.release else None,
            "digest": event.release.digest if event.release else None,
            "reason": event.reason,
            "verdicts": json.dumps([verdict.as_dict() for verdict in event.verdicts]),
        }
        with self._engine.begin() as connection:
            connection.execute(insert(_EVENTS).values(row))

    def events(self, line: str) -> tuple[SlotEvent, ...]:
        """All events of one line, oldest first."""
        query = select(_EVENTS).where(_EVENTS.c.line == line).order_by(_EVENTS.c.id)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            SlotEvent(
                at=row["at"],
                action=Action(row["action"]),
                release=ReleaseId(row["semver"], row["digest"]) if row["digest"] else None,
                reason=row["reason"],
                verdicts=tuple(verdict_from_dict(v) for v in json.loads(row["verdicts"])),
            )
            for row in rows
        )

    def lines(self) -> tuple[str, ...]:
        """Names of the lines that have a history, sorted."""
        with self._engine.connect() as connection:
            names = connection.execute(select(_EVENTS.c.line).distinct()).scalars().all()
        return tuple(sorted(names))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()
