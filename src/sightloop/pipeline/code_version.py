"""The version of the user's code: the commit of the folder a pipeline was started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TIMEOUT_S = 10.0


def git_commit(folder: Path) -> str | None:
    """Commit of the repository around `folder`, with `-dirty` after uncommitted changes.

    Returns:
        None where there is no repository, no commit or no git.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude=*"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
