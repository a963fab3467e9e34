"""Shell completion works in the shells themselves, from the script that the command installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = shutil.which("bash")
WORDS = {
    "sightloop roll": ["rollout"],
    "sightloop rollout st": ["start", "status"],
    "sightloop release ex": ["export"],
    "sightloop release export --op": ["--openssf-key"],
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and `sightloop` on the path."""
    program = tmp_path / "bin" / "sightloop"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom sightloop.cli.main import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    return {**os.environ, "HOME": str(tmp_path), "PATH": path}


def _shell(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes_what_the_installed_script_offers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # The `:` keeps bash as the parent: which shell it is, is read off the parent's name.
    _shell(["bash", "-c", "sightloop --install-completion; :"], environment)
    script = tmp_path / ".bash_completions" / "sightloop.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    for text, expected in WORDS.items():
        words = text.split()
        ask = (
            f"source {script}; COMP_WORDS=({text}); COMP_CWORD={len(words) - 1}; "
            "$(complete -p sightloop | sed 's/.*-F \\([^ ]*\\).*/\\1/') sightloop; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        assert _shell(["bash", "-c", ask], environment).split() == expected, text


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_shown_script_is_the_installed_one(environment: dict[str, str], tmp_path: Path) -> None:
    shown = _shell(["bash", "-c", "sightloop --show-completion; :"], environment)
    _shell(["bash", "-c", "sightloop --install-completion; :"], environment)
    installed = (tmp_path / ".bash_completions" / "sightloop.sh").read_text()
    assert shown.strip() == installed.strip()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_script_of_the_shell_is_one_that_it_can_read(
    environment: dict[str, str], tmp_path: Path, shell: str
) -> None:
    """The shell itself reads it where it is installed; the answers to its questions always."""
    given = {**environment, "_SIGHTLOOP_COMPLETE": f"source_{shell}"}
    script = tmp_path / f"completion.{shell}"
    script.write_text(_shell(["sightloop"], given))
    assert "_SIGHTLOOP_COMPLETE=complete_" + shell in script.read_text()
    if shutil.which(shell):
        _shell([shell, "-n", str(script)], environment)
    asked = {
        **environment,
        "_SIGHTLOOP_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "sightloop rollout st",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    answer = _shell(["sightloop"], asked)
    assert "start" in answer
    assert "status" in answer
