"""docs/reference/metrics.md says every metric with kind and labels, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from sightloop.serving.scrape import FAMILIES
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.markdown import code_of, rows_of, sections_of
from sightloop.testing.source_tree import package_folder, read_modules

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/metrics.md").read_text()


def test_every_metric_stands_there_as_it_is_exposed_and_no_other() -> None:
    known = {}
    for metric in vars(ServingMetrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            ending = "_total" if isinstance(metric, Counter) else ""
            kind = type(metric).__name__.lower()
            known[f"{metric._name}{ending}"] = (kind, tuple(metric._labelnames))
    for family in FAMILIES:
        known[family.exposed] = (family.kind, family.labels)
    stated = {code_of(row[0])[0]: (row[1], code_of(row[2])) for row in rows_of(PAGE)}
    assert len(known) > 5
    assert stated == known


def test_every_metric_has_a_unit_and_a_meaning() -> None:
    assert all(len(row) == 5 and row[3] and row[4] for row in rows_of(PAGE))


def emitted() -> Iterator[str]:
    """Names of the log events that the package can write."""
    for module in read_modules(package_folder()):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "emit":
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value


def test_every_event_is_named_and_no_other() -> None:
    section = next(section for section in sections_of(PAGE) if section.title == "Events")
    known = set(emitted())
    assert "release_switched" in known
    assert set(code_of(section.body)) - {"at", "event"} == known
