"""The process environment, handed on as a value: the one place that reads it whole."""

from __future__ import annotations

import os


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, for a child process."""
    return dict(os.environ)
