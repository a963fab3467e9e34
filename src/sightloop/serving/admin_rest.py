"""The admin plane over HTTP: status, history, audit to look at; updates, rollbacks to order."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightloop.serving.access import Caller
from sightloop.serving.access_rest import asks
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.doorkeeper import Doorkeeper
from sightloop.serving.request_rest import BodyLimits, documented, read_body
from sightloop.serving.update import OrderOutcome

_LOOK: Final = (401, 403, 404, 422, 429)
_ORDER: Final = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503)
_Order = TypeVar("_Order", bound=BaseModel)
_Path = Annotated[str, Field(max_length=4096)]
_Digest = Annotated[str, Field(max_length=128)]


class UpdateBody(BaseModel):
    """Body of an update: one of the two."""

    model_config = ConfigDict(extra="forbid")
    bundle: _Path | None = None
    digest: _Digest | None = None


class RollbackBody(BaseModel):
    """Body of a rollback; empty means the previous release."""

    model_config = ConfigDict(extra="forbid")
    digest: _Digest | None = None


def build_admin(admin: AdminPlane, keeper: Doorkeeper, limits: BodyLimits) -> APIRouter:
    """The routes of the admin plane.

    Args:
        admin: What is asked and ordered.
        keeper: Who may.
        limits: What an order's body may be.
    """
    router = APIRouter(tags=["admin"])
    _mount_looks(router, admin, keeper)
    _mount_orders(router, admin, keeper, limits)
    return router


def _mount_looks(router: APIRouter, admin: AdminPlane, keeper: Doorkeeper) -> None:
    reads = [asks(keeper)]

    @router.get(
        "/v1/lines",
        summary="Names of the model lines",
        dependencies=reads,
        responses=documented(401, 403, 429),
    )
    async def lines() -> dict[str, list[str]]:
        return {"lines": list(admin.line_names)}

    @router.get(
        "/v1/lines/{line}",
        summary="Champion, previous, candidate and standby of a line",
        dependencies=reads,
        responses=documented(*_LOOK),
    )
    async def status(line: str) -> dict[str, object]:
        return await admin.observed_status(line)

    @router.get(
        "/v1/lines/{line}/history",
        summary="Every switch and refusal of a line",
        dependencies=reads,
        responses=documented(*_LOOK),
    )
    async def history(line: str) -> dict[str, object]:
        return {"line": line, "events": await admin.history(line)}

    @router.get(
        "/v1/audit",
        summary="Who ordered what, and how it ended",
        dependencies=reads,
        responses=documented(401, 403, 422, 429),
    )
    async def audit(
        last: Annotated[int, Query(description="How many of the newest", ge=0, le=10_000)] = 1000,
    ) -> dict[str, object]:
        return await admin.audit(last=last)


def _mount_orders(
    router: APIRouter, admin: AdminPlane, keeper: Doorkeeper, limits: BodyLimits
) -> None:
    updates, rolls_back = asks(keeper, "update"), asks(keeper, "rollback")

    @router.post(
        "/v1/lines/{line}/updates",
        summary="Prove a release and switch to it",
        responses=documented(*_ORDER),
        openapi_extra=_body_of(UpdateBody, required=True),
    )
    async def update(line: str, request: Request, caller: Caller = updates) -> Response:
        body = _read_order(UpdateBody, await read_body(request, limits))
        outcome = await admin.update(line, bundle=body.bundle, digest=body.digest, caller=caller)
        return _answer(outcome)

    @router.post(
        "/v1/lines/{line}/rollback",
        summary="Return to the previous release",
        responses=documented(*_ORDER),
        openapi_extra=_body_of(RollbackBody, required=False),
    )
    async def rollback(line: str, request: Request, caller: Caller = rolls_back) -> Response:
        body = _read_order(RollbackBody, await read_body(request, limits))
        return _answer(await admin.rollback(line, body.digest, caller=caller))


def _read_order(kind: type[_Order], body: bytes) -> _Order:
    """The order in a body; an empty one says nothing."""
    try:
        return kind.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(found) from None


def _body_of(kind: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """What OpenAPI says of an order's body; it is read here, within its bounds."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


def _answer(outcome: OrderOutcome) -> Response:
    """A refusal is 409 with the verdicts; the same body as an acceptance otherwise."""
    value = outcome.as_dict()
    refusal = outcome.refusal
    if refusal is not None:
        value["error"] = {"reason": refusal.reason, "message": refusal.message}
    return JSONResponse(value, status_code=200 if outcome.switched else 409)
