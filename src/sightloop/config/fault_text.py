"""A fault that pydantic finds in settings, in the words of every message: key, expected, found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def fault_text(
    fault: Mapping[str, Any], *, prefix: str = "", shown: Callable[[object], str] = repr
) -> str:
    """Say one of `ValidationError.errors()`.

    Args:
        fault: What pydantic says.
        prefix: What stands before the key.
        shown: How the found value is written.
    """
    key = prefix + ".".join(str(part) for part in fault["loc"]) or "the file"
    kind = fault["type"]
    if kind == "extra_forbidden":
        return f"{key}: no such key (found {shown(fault['input'])}); correct its name or remove it"
    if kind == "missing":
        return f"{key}: expected a value, found none"
    expected = str(fault["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    if kind == "value_error":
        return f"{key}: {expected}"
    return f"{key}: expected {expected}, found {shown(fault['input'])}"
