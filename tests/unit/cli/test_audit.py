import json
import sqlite3
from pathlib import Path

from typer.testing import CliRunner, Result

from sightloop._support.database import open_sqlite
from sightloop.cli.main import app
from sightloop.serving.audit import AuditEntry, AuditStore


def write(workspace: Path, count: int) -> None:
    engine = open_sqlite(workspace / "serving.db")
    store = AuditStore(engine)
    for n in range(count):
        entry = AuditEntry(
            at="now",
            who="ops",
            role="operate",
            address="10.0.0.7",
            action="update",
            line="plate",
            target=f"bundle-{n}",
            outcome="too_slow",
            release="",
        )
        store.append(entry)
    engine.dispose()


def run(workspace: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", "--workspace", str(workspace), *words])


def test_newest_orders_are_shown_with_who_gave_them(tmp_path: Path) -> None:
    write(tmp_path, 3)
    done = run(tmp_path, "--last", "2")
    assert done.exit_code == 0
    assert "bundle-0" not in done.output
    assert "ops (operate) from 10.0.0.7" in done.output
    assert "3 entries, the chain holds" in done.output


def test_log_that_was_changed_ends_with_exit_code_3(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with sqlite3.connect(tmp_path / "serving.db") as connection:
        connection.execute("DROP TRIGGER audit_log_no_delete")
        connection.execute("DELETE FROM audit_log WHERE id = 2")
    connection.close()
    done = run(tmp_path, "--json")
    assert done.exit_code == 3
    found = json.loads(done.output)
    assert (found["intact"], found["first_fault"]) == (False, 1)
    assert "BROKEN: entry 1" in run(tmp_path).output


def test_workspace_without_orders_has_an_empty_log(tmp_path: Path) -> None:
    write(tmp_path, 0)
    done = run(tmp_path, "--json")
    assert done.exit_code == 0
    assert json.loads(done.output)["length"] == 0


def test_workspace_of_no_server_is_refused_and_not_made(tmp_path: Path) -> None:
    done = run(tmp_path / "misspelt")
    assert done.exit_code != 0
    assert "chain holds" not in done.output
    assert not (tmp_path / "misspelt").exists()


def test_releases_are_shown_by_the_beginning_of_their_digest(tmp_path: Path) -> None:
    engine = open_sqlite(tmp_path / "serving.db")
    entry = AuditEntry(
        at="now",
        who="ops",
        role="operate",
        address="10.0.0.7",
        action="update",
        line="plate",
        target="ab" * 32,
        outcome="switched",
        release="1.2.0 " + "ab" * 32,
    )
    AuditStore(engine).append(entry)
    engine.dispose()
    assert run(tmp_path).output.splitlines()[0].endswith("1.2.0 " + "ab" * 6)
