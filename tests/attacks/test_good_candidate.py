"""The control: without an attack the same candidate is let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_candidate_without_a_fault_is_admitted(node: Any, bundle: Path) -> None:
    admission = node.offer(bundle)
    assert [verdict.outcome.value for verdict in admission.verdicts] == ["PASS"] * 4
    assert admission.loaded is not None
    assert admission.bundle.folder.parent == node.store.root
