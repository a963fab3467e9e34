"""docs/reference/events.md says every event of the code with its keys, and no other."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from sightloop.release.verdict import Outcome, Verdict
from sightloop.serving.audit import GENESIS, AuditEntry, ChainedEntry
from sightloop.testing.markdown import code_of, rows_of
from sightloop.testing.source_tree import package_folder, read_modules

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/events.md").read_text()
_ENTRY = AuditEntry(*([""] * len(AuditEntry.__dataclass_fields__)))
SPREAD: dict[str, Mapping[str, object]] = {
    "verdict.as_dict()": Verdict("load", Outcome.PASS, "ok", "").as_dict(),
    "chained.as_dict()": ChainedEntry(_ENTRY, GENESIS, "").as_dict(),
}
"""Keys that are handed over as a whole."""


def emitted() -> dict[str, set[str]]:
    """Keys by event, over all places that write it."""
    found: dict[str, set[str]] = {}
    for module in read_modules(package_folder()):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "emit":
                keys = {name for keyword in node.keywords for name in keys_of(keyword)}
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.setdefault(part.value, set()).update(keys)
    return found


def keys_of(keyword: ast.keyword) -> set[str]:
    if keyword.arg is not None:
        return {keyword.arg}
    return set(SPREAD[ast.unparse(keyword.value)])


def test_every_event_stands_there_with_its_keys_and_no_other() -> None:
    known = emitted()
    assert "release_switched" in known
    assert {code_of(row[0])[0]: set(code_of(row[1])) for row in rows_of(PAGE)} == known


def test_every_event_says_when_it_is_written() -> None:
    assert all(len(row) == 3 and row[2] for row in rows_of(PAGE))
