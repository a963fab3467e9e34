"""docs/reference/rest.md says every endpoint and status; release-format.md every manifest key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from sightloop._support.clock import SystemClock
from sightloop.release.manifest import Manifest
from sightloop.serving.admin_rest import RollbackBody, UpdateBody
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.request_rest import BodyLimits
from sightloop.serving.rest import build_rest
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.markdown import code_of, rows_of, sections_of
from sightloop.testing.scripted_door import UnwrittenAudit, door_of

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"
REST = (REFERENCE / "rest.md").read_text()
FORMAT = (REFERENCE / "release-format.md").read_text()


async def endpoints() -> set[str]:
    metrics = ServingMetrics()
    data = DataPlane({}, metrics=metrics, clock=SystemClock())
    app = build_rest(
        data,
        AdminPlane({}, {}, log=UnwrittenAudit()),
        keeper=door_of(metrics),
        metrics=metrics,
        limits=BodyLimits(1 << 20),
        version="0",
    )
    paths = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, found in paths.items() for method in found}


def test_every_endpoint_stands_there_and_no_other() -> None:
    section = next(s for s in sections_of(REST) if s.title == "Endpoints")
    assert {code_of(row[0])[0] for row in rows_of(section.body)} == asyncio.run(endpoints())


def test_bodies_of_orders_are_named() -> None:
    for body in (UpdateBody, RollbackBody):
        for name in body.model_fields:
            assert name in code_of(REST)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Full names of a model's keys; those of a part follow the part's."""
    for name, field in model.model_fields.items():
        full = f"{prefix}{field.alias or name}"
        yield full
        for part in parts_of(field.annotation):
            ending = "{path}." if name == "files" else ""
            yield from keys(part, f"{full}.{ending}")


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from parts_of(inner)


def test_every_key_of_the_manifest_stands_there_and_no_other() -> None:
    section = next(s for s in sections_of(FORMAT) if s.title == "manifest.json")
    stated = [code_of(row[0])[0] for row in rows_of(section.body)]
    known = set(keys(Manifest)) - {"calibration.tolerances"}
    tolerances = {key for key in known if key.startswith("calibration.tolerances.")}
    assert set(stated) == known - tolerances | {"calibration.tolerances"}
    assert {key.rpartition(".")[2] for key in tolerances} <= set(code_of(section.body))
