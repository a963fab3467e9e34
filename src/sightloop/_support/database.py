"""One way to open an SQL database: SQLite in a file, durable at commit, or any URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from sightloop._support.files import naming_full_disk


def open_sqlite(path: Path) -> Engine:
    """Give an engine on the SQLite file at `path`, created if absent.

    Write-ahead log with full sync: what a commit has returned for survives a power cut. A
    second writer waits up to 10 s.
    """
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:
        # Any: the driver's connection, which SQLAlchemy does not type.
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine
