import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightloop.cli.main import app
from sightloop.serving.access import Role
from sightloop.serving.token_file import read_tokens


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_secret_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    place = ["--workspace", str(tmp_path)]
    secret = run("token", "create", "ops", "--role", "operate", *place).strip()
    (token,) = read_tokens(tmp_path / "tokens.json")
    assert token.fits(secret)
    assert (token.name, token.role) == ("ops", Role.OPERATE)
    assert secret not in (tmp_path / "tokens.json").read_text()
    assert secret not in run("token", "list", *place) + run("token", "list", *place, "--json")


def test_token_reads_unless_said_otherwise(tmp_path: Path) -> None:
    made = json.loads(run("token", "create", "board", "--workspace", str(tmp_path), "--json"))
    assert (made["name"], made["role"]) == ("board", "read")


def test_revoked_token_is_listed_no_more(tmp_path: Path) -> None:
    place = ["--workspace", str(tmp_path)]
    run("token", "create", "one", *place)
    run("token", "create", "two", *place)
    assert "revoked" in run("token", "revoke", "one", *place)
    assert [
        row["name"] for row in json.loads(run("token", "list", *place, "--json"))["tokens"]
    ] == ["two"]


@pytest.mark.parametrize("name", ["A", "../x"])
def test_name_that_cannot_name_a_token_makes_none(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(app, ["token", "create", name, "--workspace", str(tmp_path)])
    assert done.exit_code != 0
    assert not (tmp_path / "tokens.json").exists()


def test_list_without_a_token_says_so_and_creates_no_workspace(tmp_path: Path) -> None:
    assert "no tokens" in run("token", "list", "--workspace", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
