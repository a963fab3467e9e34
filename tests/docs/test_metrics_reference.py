"""docs/reference/metrics.md says every metric with kind and labels, and nothing else."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from sightloop.serving.scrape import FAMILIES
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.markdown import code_of, rows_of

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
