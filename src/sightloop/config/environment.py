"""The process environment, handed on as a value: the one place that reads it whole."""

from __future__ import annotations

import os

_SECRETS = frozenset({"SIGHTLOOP_TOKEN", "SIGHTLOOP_SERVE_TOKEN"})


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, for a child process; without the tokens."""
    return {name: value for name, value in os.environ.items() if name not in _SECRETS}
