"""Every command has --json and ends with a documented exit code, badly called as well.

The table names each command once, with arguments it can do nothing with; a new command has to be
added. On standard output stands JSON alone, the error's reason in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sightloop.cli import main as cli

NOBODY = ("--url", "http://127.0.0.1:9")
CALLS: dict[str, tuple[tuple[str, ...], int, str | None]] = {
    "demo": (("--out", "file/below", "--quick"), 2, "workspace_invalid"),
    "serve": (("--release", "plate@1.0.0"), 5, "release_not_found"),
    "detect": (("none.jpg", *NOBODY), 4, "image_unreadable"),
    "doctor": (("--workspace", "file"), 2, None),
    "bench": (("nothing",), 2, "bench_unknown"),
    "rollout start": (("plate", "1.0.0", *NOBODY), 5, "release_not_found"),
    "rollout rollback": (("plate", *NOBODY), 5, "server_unreachable"),
    "rollout status": (("plate", *NOBODY), 5, "server_unreachable"),
    "rollout history": (("plate", *NOBODY), 5, "server_unreachable"),
    "audit": ((*NOBODY,), 5, "server_unreachable"),
    "token create": (("../x",), 2, "token_name_invalid"),
    "token list": ((), 0, None),
    "token revoke": (("nobody",), 2, "token_not_found"),
    "release keygen": (("--name", "../x"), 2, "key_name_invalid"),
    "release build": (
        ("--onnx", "none.onnx", "--data", "none.yaml", "--line", "plate", "--semver", "1.0.0"),
        4,
        "data_yaml_invalid",
    ),
    "release verify": (("none",), 3, "bundle_missing"),
    "release show": (("none",), 3, "bundle_missing"),
    "release export": (("plate@1.0.0", "--out", "x"), 5, "release_not_found"),
    "release import": (("none",), 3, "bundle_missing"),
    "release list": ((), 0, None),
    "release diff": (("plate@1.0.0", "plate@1.1.0"), 5, "release_not_found"),
    "release hold": (("plate@1.0.0",), 5, "release_not_found"),
    "release unhold": (("plate@1.0.0",), 5, "release_not_found"),
    "release prune": ((), 0, None),
    "pipeline run": (("--config", "none.toml"), 2, "config_missing"),
    "pipeline step": (("nothing",), 2, "step_unknown"),
    "pipeline show": (("--config", "none.toml"), 2, "config_missing"),
    "dataset check": (("none.yaml",), 4, "data_yaml_invalid"),
    "dataset show": (("none.yaml",), 4, "data_yaml_invalid"),
}


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(cli.app)))


def test_every_command_is_in_the_table() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


@pytest.mark.parametrize("name", CALLS)
def test_bad_call_ends_with_its_code_and_says_its_reason_as_json(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, code, reason = CALLS[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file where a folder is wanted")
    monkeypatch.setattr(sys, "argv", ["sightloop", *name.split(), *arguments, "--json"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out = capsys.readouterr()
    assert (caught.value.code or 0) == code, out.err
    answers = [json.loads(line) for line in out.out.splitlines()]
    assert len(answers) == 1
    assert answers[0].get("error", {}).get("reason") == reason
    assert "Traceback" not in out.err


def test_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sightloop", "--version"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert capsys.readouterr().out.split()[0] == "sightloop"
