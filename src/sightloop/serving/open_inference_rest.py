"""The Open Inference Protocol over HTTP, below /v2: maps it onto the plane, errors onto statuses.

Errors are `{"error": text, "reason": word}`, since the protocol's clients read a text there. Bodies
and answers may be compressed. Nothing here knows a release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from sightloop.errors import (
    FrameKillsWorkerError,
    InputError,
    ProtocolError,
    SightloopError,
    UnsupportedError,
    UpdateInProgressError,
)
from sightloop.protocol.compression import compress, decompress, wanted_encoding
from sightloop.protocol.envelope import AnswerParts
from sightloop.protocol.http_form import HEADER, split_body
from sightloop.protocol.load_order import read_load_order
from sightloop.protocol.requests import read_json
from sightloop.serving.access import Caller
from sightloop.serving.access_rest import SAYS_BEARER, asks, enter_data
from sightloop.serving.docs_rest import add_docs_page
from sightloop.serving.doorkeeper import Doorkeeper
from sightloop.serving.open_bytes import Share
from sightloop.serving.open_inference import OpenInference, WorkerRefusal
from sightloop.serving.request_rest import (
    BodyLimits,
    answer_kind,
    check_size,
    documented,
    headers_of,
    read_body,
    status_of,
)
from sightloop.serving.update import OrderOutcome

_COMPRESS_FROM_BYTES: Final = 1024
_ASIDE_FROM_BYTES: Final = 64 << 10
"""From this size on, (de)compression runs on another thread; zlib lets the loop go on."""
_RETRY_AFTER: Final = {"Retry-After": "1"}
_CALL_LATER: Final = frozenset({429, 503, 504})
_NOT_READY: Final[dict[int | str, Any]] = {503: {"description": "Not now"}}
_NOT_OFFERED: Final = (
    "/v2/trace/setting",
    "/v2/models/{model}/trace/setting",
    "/v2/logging",
    "/v2/systemsharedmemory/{rest:path}",
    "/v2/cudasharedmemory/{rest:path}",
)
_ORDERS: Final = (400, 401, 403, 404, 408, 413, 429, 501, 503)
_INFERS: Final = (400, 401, 403, 404, 408, 413, 429, 500, 503, 504)
Model = Annotated[str, Path(description="Model line")]
Version = Annotated[str, Path(description="Semver, or 6 and more digits of the digest")]


def protocol_status(error: SightloopError) -> int:
    """The HTTP status of an error here: Triton's, which differ from those below /v1."""
    if isinstance(error, UpdateInProgressError):
        return 503
    if isinstance(error, FrameKillsWorkerError):
        return 500
    status = status_of(error)
    wrong_input = status == 500 and isinstance(error, InputError)
    return 400 if wrong_input or status == 409 else status


class ProtocolErrorBody(BaseModel):
    """Body of every error below /v2."""

    error: str
    reason: str


def _errors(*statuses: int) -> dict[int | str, Any]:
    """What OpenAPI says of a router's errors."""
    return documented(*statuses, body=ProtocolErrorBody)


class _BelowV2(BaseRoute):
    """Hands /v2 and everything below it to an application of its own, path unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope.get("path", "")
        mine = scope["type"] == "http" and (path == "/v2" or path.startswith("/v2/"))
        return (Match.FULL if mine else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def mount_open_inference(
    app: FastAPI, plane: OpenInference, *, keeper: Doorkeeper, limits: BodyLimits, version: str
) -> None:
    """Answer everything below /v2 of `app` by the protocol, with errors of its own form."""
    below = build_open_inference_rest(plane, keeper=keeper, limits=limits, version=version)
    app.router.routes.append(_BelowV2(below))


def build_open_inference_rest(
    plane: OpenInference, *, keeper: Doorkeeper, limits: BodyLimits, version: str
) -> FastAPI:
    """Give the ASGI application of everything below /v2."""
    app = FastAPI(
        title="Sightloop: Open Inference Protocol",
        version=version,
        openapi_url="/v2/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    add_docs_page(app, "/v2/docs")
    app.add_exception_handler(SightloopError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(Exception, _answer_fault)
    routers = (
        _health(plane),
        _repository(plane, keeper, limits),
        _models(plane, keeper),
        _inference(plane, keeper, limits),
    )
    for router in routers:
        app.include_router(router)
    app.include_router(_not_offered())
    return app


def _health(plane: OpenInference) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/v2/health/live", summary="The process lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v2/health/ready", summary="Every line answers", responses=_NOT_READY)
    async def ready() -> Response:
        return JSONResponse({"ready": plane.ready}, status_code=200 if plane.ready else 503)

    @router.get("/v2", summary="Name, version and extensions of the server")
    async def server() -> dict[str, Any]:
        return plane.server_metadata()

    return router


def _repository(plane: OpenInference, keeper: Doorkeeper, limits: BodyLimits) -> APIRouter:
    router = APIRouter(tags=["repository"], responses=_errors(*_ORDERS))
    reads, loads, unloads = asks(keeper), asks(keeper, "update"), asks(keeper, "unload")

    async def body_of(request: Request) -> dict[str, Any]:
        body = await _read(request, limits.of_orders())
        value = read_json(body) if body.strip() else {}
        if not isinstance(value, dict):
            raise ProtocolError("request: expected a JSON object, found another")
        return value

    @router.post(
        "/v2/repository/index", summary="Every release of every line", dependencies=[reads]
    )
    @router.post("/v2/repository/{repository}/index", include_in_schema=False, dependencies=[reads])
    async def index(request: Request) -> list[dict[str, str]]:
        body = await body_of(request)
        return await plane.repository_index(ready=body.get("ready") is True)

    @router.post("/v2/repository/models/{model}/load", summary="Prove a release, switch to it")
    @router.post("/v2/repository/{repository}/models/{model}/load", include_in_schema=False)
    async def load(request: Request, model: Model, caller: Caller = loads) -> Response:
        parameters = (await body_of(request)).get("parameters") or {}
        if not isinstance(parameters, dict):
            raise ProtocolError("parameters: expected an object, found another")
        outcome = await plane.load(model, read_load_order(parameters), caller=caller)
        return _outcome(model, outcome)

    @router.post("/v2/repository/models/{model}/unload", summary="Not offered: always refused")
    @router.post("/v2/repository/{repository}/models/{model}/unload", include_in_schema=False)
    async def unload(model: Model, _caller: Caller = unloads) -> None:
        plane.unload(model)

    return router


def _models(plane: OpenInference, keeper: Doorkeeper) -> APIRouter:
    errors = _errors(401, 403, 404)
    router = APIRouter(tags=["models"], dependencies=_data_asks(keeper), responses=errors)

    @router.get("/v2/models/stats", summary="Statistics of every line")
    async def all_statistics() -> dict[str, Any]:
        return plane.statistics("", "")

    @router.get("/v2/models/{model}", summary="Versions and tensors of a line")
    async def metadata(model: Model) -> dict[str, Any]:
        return await plane.model_metadata(model, "")

    @router.get("/v2/models/{model}/versions/{version}", summary="The same of one release")
    async def version_metadata(model: Model, version: Version) -> dict[str, Any]:
        return await plane.model_metadata(model, version)

    @router.get("/v2/models/{model}/ready", summary="A line answers", responses=_NOT_READY)
    async def ready(model: Model) -> Response:
        return _ready(plane, model, "")

    @router.get(
        "/v2/models/{model}/versions/{version}/ready",
        summary="A release answers",
        responses=_NOT_READY,
    )
    async def version_ready(model: Model, version: Version) -> Response:
        return _ready(plane, model, version)

    @router.get("/v2/models/{model}/config", summary="Model configuration of a line")
    async def config(model: Model) -> dict[str, Any]:
        return await plane.model_config(model, "")

    @router.get("/v2/models/{model}/versions/{version}/config", summary="The same of one release")
    async def version_config(model: Model, version: Version) -> dict[str, Any]:
        return await plane.model_config(model, version)

    @router.get("/v2/models/{model}/stats", summary="Statistics of a line's releases")
    async def statistics(model: Model) -> dict[str, Any]:
        return plane.statistics(model, "")

    @router.get("/v2/models/{model}/versions/{version}/stats", summary="Statistics of a release")
    async def version_statistics(model: Model, version: Version) -> dict[str, Any]:
        return plane.statistics(model, version)

    return router


def _data_asks(keeper: Doorkeeper) -> list[Any]:
    """What the data plane's routes depend on; nothing where nobody is asked."""

    async def enter(request: Request, _: Any = SAYS_BEARER) -> None:
        enter_data(keeper, request)

    return [Depends(enter)] if keeper.rules.data_asks else []


def _inference(plane: OpenInference, keeper: Doorkeeper, limits: BodyLimits) -> APIRouter:
    errors = _errors(*_INFERS)
    router = APIRouter(tags=["inference"], dependencies=_data_asks(keeper), responses=errors)

    async def answer(request: Request, model: str, version: str) -> Response:
        with limits.open_bytes.share() as share:
            body = await _read(request, limits, share)
            head, raw = split_body(body, request.headers.get(HEADER))
            found = await plane.infer(model, version, head, raw)
        if isinstance(found, WorkerRefusal):
            return _error(found.status, found.reason, found.message)
        return await _answer(found, request.headers.get("accept-encoding"))

    @router.post("/v2/models/{model}/infer", summary="Infer", openapi_extra=_INFER_BODY)
    async def infer(request: Request, model: Model) -> Response:
        return await answer(request, model, "")

    @router.post(
        "/v2/models/{model}/versions/{version}/infer",
        summary="Infer by one release",
        openapi_extra=_INFER_BODY,
    )
    async def version_infer(request: Request, model: Model, version: Version) -> Response:
        return await answer(request, model, version)

    return router


def _not_offered() -> APIRouter:
    router = APIRouter()

    async def refuse(request: Request) -> None:
        raise UnsupportedError(
            f"{request.url.path}: not offered here; GET /v2 lists the extensions that are"
        )

    for path in _NOT_OFFERED:
        router.add_api_route(path, refuse, methods=["GET", "POST"], include_in_schema=False)
    return router


async def _read(request: Request, limits: BodyLimits, share: Share | None = None) -> bytes:
    body = await read_body(request, limits, share)
    encoding = request.headers.get("content-encoding")
    if encoding is None:
        return body
    plain = await asyncio.to_thread(decompress, body, encoding, limit_bytes=limits.bytes_max)
    check_size(len(plain), limits, share)
    return plain


async def _answer(found: AnswerParts, accept: str | None) -> Response:
    if found.raw is None:
        body, headers, kind = bytes(found.head), {}, "application/json"
    else:
        body = b"".join((found.head, found.raw))
        headers, kind = {HEADER: str(len(found.head))}, "application/octet-stream"
    encoding = wanted_encoding(accept)
    if encoding is not None and len(body) >= _COMPRESS_FROM_BYTES:
        headers["Content-Encoding"] = encoding
        aside = len(body) >= _ASIDE_FROM_BYTES
        body = (
            await asyncio.to_thread(compress, body, encoding) if aside else compress(body, encoding)
        )
    return Response(body, headers=headers, media_type=kind)


def _ready(plane: OpenInference, model: str, version: str) -> Response:
    ready = plane.model_ready(model, version)
    return JSONResponse({"name": model, "ready": ready}, status_code=200 if ready else 503)


def _outcome(model: str, outcome: OrderOutcome | None) -> Response:
    """An order's end: a refusal is an error with the gate's word."""
    refusal = outcome.refusal if outcome is not None else None
    if refusal is None:
        return JSONResponse(outcome.as_dict() if outcome is not None else {"state": "ACTIVE"})
    message = f"load of {model}: refused by gate {refusal.gate}: {refusal.message}"
    return _error(400, refusal.reason, f"{message} ({refusal.reason})")


def _error(
    status: int, reason: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    extra = dict(headers or {}) | (_RETRY_AFTER if status in _CALL_LATER else {})
    value = {"error": message, "reason": reason}
    return JSONResponse(value, status_code=status, headers=extra)


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SightloopError)
    status = protocol_status(error)
    headers = headers_of(status, later=status in _CALL_LATER)
    value = {"error": error.message, "reason": error.reason}
    return answer_kind(error)(value, status_code=status, headers=headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /v2/docs shows every call"
    return _error(error.status_code, "request_malformed", message, error.headers)


async def _answer_invalid(request: Request, _error_: Exception) -> Response:
    return _error(400, "request_malformed", f"{request.url.path}: no address of this protocol")


async def _answer_fault(_request: Request, _error_: Exception) -> Response:
    return _error(500, "error", "the server failed on this request; its log has the traceback")


_INFER_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "datatype", "shape"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "datatype": {"type": "string"},
                                    "shape": {"type": "array", "items": {"type": "integer"}},
                                    "parameters": {"type": "object"},
                                    "data": {"type": "array"},
                                },
                            },
                        },
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "parameters": {"type": "object"},
                                },
                            },
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
